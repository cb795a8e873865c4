"""What one sandbox can and cannot do: the differences between real servers, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """
    The abilities and habits of a sandbox.

    The defaults are those of a well-behaved R4 server. Each field is
    a difference that was seen between real products.
    """

    software: str = "fhir-bridge sandbox"
    software_version: str = "1"
    fhir_version: str = "4.0.1"
    authorization: str | None = None
    """The one Authorization header that is accepted; None asks for none."""

    transactions: bool = True
    batch: bool = True
    update_create: bool = True
    """PUT to an id that does not exist creates it."""
    conditional_create: bool = True
    conditional_update: bool = True
    everything: bool = True
    undeclared: frozenset[str] = frozenset()
    """Abilities that the CapabilityStatement is silent about though they work:
    ``update_create``, ``conditional_create``, ``conditional_update``,
    ``transaction``, ``batch``, ``everything``."""

    integrity: bool = True
    """Refuse a reference to a resource that is not here. As HAPI 8.8.0, this
    looks at indexed elements only: not into extensions, nor imagingStudy."""
    numeric_ids: bool = False
    """Accept client ids of digits only, which HAPI refuses."""
    merges_labels: bool = False
    """Keep old tags and security labels at a PUT without X-Meta-Snapshot-Mode,
    as HAPI 8.8.0 does."""
    stale_status: int = 412
    """The answer to an If-Match that does not match; HAPI says 409."""
    if_match: str = "strict"
    """``creates``: what was never there is created whatever If-Match says, as by
    HAPI 8.8.0; ``ignored``: it is not looked at."""

    entry_limit: int | None = None
    """Bundles with more entries are answered 413."""
    byte_limit: int | None = None
    """Bodies of more bytes are answered 413."""
    page_size: int = 100
    page_size_max: int = 500
    offset_paging: bool = True
    """Understand `_offset`, which HAPI has and the standard has not."""
    post_search: bool = True
    ignored_parameters: frozenset[str] = frozenset()
    """Search parameters that are not honoured: skipped, left out of the self
    link, and refused when the client prefers strict handling."""
    clock_skew_seconds: float = 0
    """How far the server's Date header is ahead of the time."""
