"""What is known of products stands in mappings/, each row with where and when it was seen."""

from __future__ import annotations

import re

import pytest

from fhir_bridge.codes import mapping
from fhir_bridge.fhir_server.quirks import quirks_of

PRODUCTS = mapping("quirks.json")["products"]


@pytest.mark.parametrize("row", PRODUCTS, ids=[row["product"] for row in PRODUCTS])
def test_every_quirk_carries_product_version_and_month(row: dict[str, str]) -> None:
    assert row["product"]
    assert row["version"]
    assert re.fullmatch(r"20\d\d-\d\d", row["seen"])


@pytest.mark.parametrize(
    ("software", "product"),
    [
        ("HAPI FHIR Server", "HAPI FHIR JPA"),
        ("hapi fhir server", "HAPI FHIR JPA"),
        ("SEKMET FHIR R4 Tester", "SEKMET"),
        ("fhir-bridge sandbox", "our own sandbox"),
        ("not HAPI FHIR", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_product_is_known_by_how_its_name_begins(software: str, product: str) -> None:
    assert quirks_of(software).product == product


def test_an_unknown_server_gets_450_entries_and_nothing_that_is_not_standard() -> None:
    unknown = quirks_of("a server nobody has seen")

    assert unknown.entry_limit == 450
    known = (unknown.offset_paging, unknown.gzip_requests, unknown.search_is_current)
    assert known == (False, False, False)
    assert unknown.headers == {}
    assert (unknown.transaction, unknown.batch, unknown.update_create) == (None, None, None)


def test_hapi_takes_ten_thousand_entries_or_32_mib() -> None:
    hapi = quirks_of("HAPI FHIR Server")

    assert (hapi.entry_limit, hapi.byte_limit) == (10_000, 32 * 2**20)
