"""Where a link in a server's answer may lead, and where never."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.errors import ForeignLink, SettingsError
from fhir_bridge.wire import follow, normalised_base, rebuild

BASE = "https://first.example/fhir"


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/?x=https://first.example/fhir",
        "https://first.example@evil.example/fhir/Binary/1",
        "https://user:secret@first.example/fhir/Binary/1",
        "https://first.example.evil.example/fhir/Binary/1",
        "https://first.example./fhir/Binary/1",
        "http://first.example/fhir/Binary/1",
        "https://first.example:8443/fhir/Binary/1",
        "https://first.example:443:443/fhir/Binary/1",
        "https://first.example:99999/fhir/Binary/1",
        "https://first.example:port/fhir/Binary/1",
        "https://first.example:0/fhir/Binary/1",
        "https://first.example/fhirx/Binary/1",
        "https://first.example/",
        "https://[::1/fhir",
        "//evil.example/fhir/Binary/1",
        "///fhir/../..",
        "/",
        "../admin",
        "..",
        "./../admin",
        "Binary/../../admin",
        "https://first.example/fhir/../admin",
        "https://first.example/fhir/%2e%2e/admin",
        "https://first.example/fhir/%2E./admin",
        "https://first.example/fhir/..%2fadmin",
        "https://first.example/fhir/%252e%252e/admin",
        "https://first.example/fhir/%25252e%25252e/admin",
        "https://first.example/fhir/%2525252525252e/admin",
        "https://first.example/fhir/..;x=1/admin",
        "https://first.example/fhir/..\\admin",
        "https://first.example\\@evil.example/fhir",
        "https://first.example/fhir/%5c..%5cadmin",
        "https://first.example/fhir/Binary/1\r\nHost: evil.example",
        "https://first.example/fhir/%0d%0aHost:evil.example",
        "https://first.example/fhir/Binary/1\x00",
        "\thttps://first.example/fhir/Binary/1",
        "https://evil.example\t/fhir",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "ftp://first.example/fhir/Binary/1",
        "data:application/pdf;base64,AAAA",
        "urn:uuid:7b2c8f5e-0000-4000-8000-000000000000",
        "https:",
        "https://",
        "",
    ],
)
def test_a_link_that_leads_away_is_refused(link: str) -> None:
    with pytest.raises(ForeignLink):
        follow(BASE, link)


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("Binary/1", "https://first.example/fhir/Binary/1"),
        ("/fhir/Binary/1", "https://first.example/fhir/Binary/1"),
        ("//first.example/fhir/Binary/1", "https://first.example/fhir/Binary/1"),
        ("https://first.example/fhir", "https://first.example/fhir"),
        ("https://first.example/fhir?_getpages=1", "https://first.example/fhir?_getpages=1"),
        ("?_getpages=1", "https://first.example/fhir/?_getpages=1"),
        ("HTTPS://FIRST.example:443/fhir/Binary/1", "https://first.example/fhir/Binary/1"),
        ("https://first.example:/fhir/Binary/1", "https://first.example/fhir/Binary/1"),
        ("Binary/1#page=2", "https://first.example/fhir/Binary/1"),
        (
            "files/Bericht%20M%C3%A4rz.pdf",
            "https://first.example/fhir/files/Bericht%20M%C3%A4rz.pdf",
        ),
        ("files/100%25.pdf", "https://first.example/fhir/files/100%25.pdf"),
        ("Binary/a..b", "https://first.example/fhir/Binary/a..b"),
        ("Observation?_count=5&x=..%2f", "https://first.example/fhir/Observation?_count=5&x=..%2f"),
    ],
)
def test_a_link_inside_the_base_is_put_together_on_our_base(link: str, url: str) -> None:
    assert follow(BASE, link) == url


@given(st.text())
def test_whatever_a_link_says_only_our_base_is_asked(link: str) -> None:
    try:
        url = follow(BASE, link)
    except ForeignLink:
        return
    assert url == BASE or url.startswith((BASE + "/", BASE + "?"))


@given(
    st.sampled_from(
        ["https://first.example/fhir", "//", "/fhir/", "http://", "https://evil.example"]
    ),
    st.lists(
        st.sampled_from(["..", "%2e", ".", "/", "\\", "@", ":", "443", "?", "#", ";", "a", "%2f"])
    ),
)
def test_pieces_of_attacks_put_together_lead_nowhere_else(start: str, pieces: list[str]) -> None:
    try:
        url = follow(BASE, start + "".join(pieces))
    except ForeignLink:
        return
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc) == ("https", "first.example")
    assert parts.path == "/fhir" or parts.path.startswith("/fhir/")


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("http://10.1.2.3:8080/fhir?_getpages=7", f"{BASE}?_getpages=7"),
        ("https://first.example:443:443/fhir?_getpages=7", f"{BASE}?_getpages=7"),
        ("http://inner/fhir/Observation?page=2", f"{BASE}/Observation?page=2"),
        ("http://inner:80/hapi/r4/Observation?page=2", f"{BASE}/Observation?page=2"),
    ],
)
def test_a_page_link_with_the_host_a_proxy_hides_is_asked_on_our_base(link: str, url: str) -> None:
    assert rebuild(BASE, link, "Observation") == url


@pytest.mark.parametrize(
    "link",
    [
        "http://evil.example/?x=1",
        "http://evil.example/other?page=2",
        "http://evil.example/fhir/Observation",
        "http://evil.example/fhir/../admin?page=2",
        "http://evil.example/fhir/%2e%2e/admin?page=2",
        "http://evil.example/fhir\\Observation?page=2",
        "http://evil.example/fhirObservation?page=2",
        "ftp://inner/fhir?page=2",
        "page two",
        "",
    ],
)
def test_a_page_link_that_is_no_page_of_ours_is_refused(link: str) -> None:
    with pytest.raises(ForeignLink):
        rebuild(BASE, link, "Observation")


@pytest.mark.parametrize(
    ("written", "base"),
    [
        ("https://First.Example:443/fhir/", "https://first.example/fhir"),
        ("https://first.example", "https://first.example"),
        ("https://first.example/", "https://first.example"),
        ("http://127.0.0.1:8080/fhir", "http://127.0.0.1:8080/fhir"),
        ("http://localhost/fhir", "http://localhost/fhir"),
        ("http://[::1]:8080/fhir", "http://[::1]:8080/fhir"),
    ],
)
def test_a_base_has_one_written_form(written: str, base: str) -> None:
    assert normalised_base(written) == base


@pytest.mark.parametrize(
    "base",
    [
        "",
        "first.example/fhir",
        "ftp://first.example/fhir",
        "https:///fhir",
        "https://user@first.example/fhir",
        "https://first.example/fhir?x=1",
        "https://first.example/fhir#x",
        "https://first.example:99999/fhir",
        "https://[::1/fhir",
        "https://first.example/fhir/../x",
        "https://first.example/fhir/%2e%2e/x",
        "https://first.example/fhir\\x",
        "https://first.example/ fhir",
        "http://169.254.169.254/fhir",
        "https://[fe80::1]/fhir",
    ],
)
def test_what_is_no_base_of_a_provider_is_refused_before_anything_is_sent(base: str) -> None:
    with pytest.raises(SettingsError):
        normalised_base(base)


def test_plain_http_leads_to_this_machine_only() -> None:
    with pytest.raises(SettingsError, match="use https"):
        normalised_base("http://first.example/fhir")


def test_plain_http_elsewhere_is_for_the_operator_to_allow() -> None:
    assert (
        normalised_base("http://first.example/fhir", insecure=True) == "http://first.example/fhir"
    )


def test_a_credential_never_travels_over_plain_http_even_when_that_is_allowed() -> None:
    with pytest.raises(SettingsError, match="credential never travels"):
        normalised_base("http://first.example/fhir", insecure=True, with_credential=True)
