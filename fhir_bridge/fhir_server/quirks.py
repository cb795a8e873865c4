"""What is known of a product beyond what it declares; data in `mappings/quirks.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from fhir_bridge.codes import mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """What a product is known for. None: nothing is known, its statement decides."""

    product: str = "unknown"
    transaction: bool | None = None
    batch: bool | None = None
    update_create: bool | None = None
    everything: bool | None = None
    """False: it is there, and searches are faster."""
    entry_limit: int = 450
    byte_limit: int = 16 * 2**20
    page_count: int = 500
    """What to ask for with _count."""
    offset_paging: bool = False
    """Takes `_offset`; pages so got are no snapshot."""
    search_is_current: bool = False
    """A search sees what was written just before."""
    gzip_requests: bool = False
    parallel: int = 4
    """Requests at a time that it bears."""
    numeric_ids: bool = True
    """Takes ids of digits only."""
    create_only: Mapping[str, str] = field(default_factory=dict[str, str])
    """
    Version of the product (its beginning) to the If-Match of a PUT that creates
    and never writes over anything.
    """
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Headers of each write."""
    shared_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """More of them, for what other transfers may write at the same time."""


_KNOWN = {one.name for one in fields(Quirks)}


def quirks_of(software: str) -> Quirks:
    """
    Return what is known of a product.

    Args:
        software: CapabilityStatement.software.name. Untrusted: it only chooses a row.
    """
    table: Mapping[str, Any] = mapping("quirks.json")
    for row in table["products"]:
        if re.match(row["software"], software, re.IGNORECASE):
            return _read({**table["unknown"], **row})
    return _read(table["unknown"])


def _read(row: Mapping[str, Any]) -> Quirks:
    return Quirks(**{name: value for name, value in row.items() if name in _KNOWN})
