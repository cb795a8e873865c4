"""The page where a patient checks a receipt, in a real browser."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, sync_playwright

from fhir_bridge.ledger import Receipt
from tests.simulators.receipts import (
    ATTACKER,
    BODY,
    LOG,
    ROOT,
    SIGNER,
    WITNESS,
    SmallLog,
    entry,
    policy,
)
from tests.simulators.servers import chromium

PAGE = Path(__file__).parents[2] / "fhir_bridge" / "doors" / "receipt.html"
HONEST = SmallLog().receipt()
SIGNED_LIST = SmallLog(policy=policy(), witnesses=[WITNESS]).receipt()

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Browser:
    page: Page
    requests: list[str]

    def verdict(self, receipt: bytes, key: str) -> tuple[str | None, str]:
        """Check a receipt as a patient does: code and text of the verdict."""
        self.page.goto(PAGE.as_uri())
        self.page.fill("#key", key)
        file = {"name": "receipt.tlog-proof", "mimeType": "text/plain", "buffer": receipt}
        self.page.set_input_files("#file", files=[file])  # type: ignore[list-item]
        self.page.wait_for_selector("#verdict[data-code]")
        verdict = self.page.locator("#verdict")
        return verdict.get_attribute("data-code"), verdict.inner_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=list(_FLAGS))
        page = running.new_page()
        requests: list[str] = []

        def seen(request: Request) -> None:
            requests.append(request.url)

        page.on("request", seen)
        yield Browser(page, requests)
        running.close()


def of(receipt: Receipt) -> bytes:
    return str(receipt).encode()


@pytest.mark.real
def test_an_honest_receipt_passes_with_the_log_s_own_key(browser: Browser) -> None:
    code, text = browser.verdict(of(HONEST), str(SIGNER.verifier))
    assert code == "verified", text
    assert "Your records were sent" in text
    assert "Second Opinion Centre urn:oid:2.999.1.2|centre" in text
    assert "60 records and documents, 81000 bytes" in text
    assert "entry 5 of log first.example/audit/2026, which then had 11 entries" in text


@pytest.mark.real
def test_the_root_s_key_alone_suffices_where_the_receipt_has_the_list_of_keys(
    browser: Browser,
) -> None:
    code, text = browser.verdict(of(SIGNED_LIST), str(ROOT.verifier))
    assert code == "verified", text
    assert "witness.example/w1" in text


@pytest.mark.real
@pytest.mark.parametrize("size", range(1, 34))
def test_every_place_of_every_small_log_passes(browser: Browser, size: int) -> None:
    log = SmallLog(entries=[entry(idx) for idx in range(size)])
    for index in {0, size // 2, size - 1}:
        code, text = browser.verdict(of(log.receipt(index)), str(SIGNER.verifier))
        assert code == "verified", (size, index, text)


@pytest.mark.real
def test_a_receipt_without_its_details_says_so(browser: Browser) -> None:
    code, text = browser.verdict(of(replace(HONEST, salt=None, body=None)), str(SIGNER.verifier))
    assert code == "verified"
    assert "not in this receipt, or erased" in text


def _flipped(value: bytes, at: int) -> bytes:
    return value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]


def _note(receipt: Receipt, change: Callable[[str], str]) -> bytes:
    return of(replace(receipt, note=change(receipt.note)))


def _size_plus_one(note: str) -> str:
    return note.replace(f"{LOG}\n11\n", f"{LOG}\n12\n")


def _other_root(note: str) -> str:
    lines = note.split("\n")
    lines[2] = base64.b64encode(bytes(32)).decode()
    return "\n".join(lines)


def _wrong_signature(note: str) -> str:
    return note.partition("\n\n")[0] + "\n\n" + SIGNER.line("another text\n")


def _respelled(receipt: Receipt) -> bytes:
    """Spell the last hash another way: unused bits of base64 set."""
    text = str(receipt)
    encoded = base64.b64encode(receipt.proof[-1]).decode()
    other = encoded[:-2] + chr(ord(encoded[-2]) + 1) + "="
    assert base64.b64decode(other) == receipt.proof[-1]
    return text.replace(encoded, other).encode()


def _forged(text: bytes) -> SmallLog:
    """Give a log whose holder signed an entry that no log may have."""
    return SmallLog(entries=[*(entry(idx) for idx in range(5)), text, entry(6)])


def _twice(leaf: bytes) -> bytes:
    return b'{"actor":"cli:other",' + leaf[1:]


KEY = str(SIGNER.verifier)
FOREIGN = SmallLog(origin="other.example/audit/2026").receipt()
LOW_ORDER = base64.b64encode(b"\x01" + bytes([1]) + bytes(31)).decode()
LOW_ID = hashlib.sha256(LOG.encode() + b"\n\x01\x01" + bytes(31)).hexdigest()[:8]

FORGERIES: dict[str, tuple[bytes, str, str]] = {
    "a byte of the entry": (
        of(replace(HONEST, entry=HONEST.entry.replace(b"centre", b"center"))),
        KEY,
        "not-in-log",
    ),
    "the entry spelled otherwise": (
        of(replace(HONEST, entry=HONEST.entry.replace(b",", b", ", 1))),
        KEY,
        "not-in-log",
    ),
    "another entry of the same log": (of(replace(HONEST, entry=entry(4))), KEY, "not-in-log"),
    "another index": (of(replace(HONEST, index=6)), KEY, "not-in-log"),
    "an index beyond the log": (of(replace(HONEST, index=11)), KEY, "not-in-log"),
    "a hash of the proof": (
        of(replace(HONEST, proof=(_flipped(HONEST.proof[0], 3), *HONEST.proof[1:]))),
        KEY,
        "not-in-log",
    ),
    "a hash too many": (of(replace(HONEST, proof=(*HONEST.proof, bytes(32)))), KEY, "not-in-log"),
    "a hash too few": (of(replace(HONEST, proof=HONEST.proof[:-1])), KEY, "not-in-log"),
    "the root": (_note(HONEST, _other_root), KEY, "signature"),
    "the size": (_note(HONEST, _size_plus_one), KEY, "signature"),
    "the signature": (_note(HONEST, _wrong_signature), KEY, "signature"),
    "the whole log, by another key of the same name": (
        of(SmallLog(signer=ATTACKER).receipt()),
        KEY,
        "signature",
    ),
    "the log's name": (of(FOREIGN), KEY, "other-key"),
    "the details": (of(replace(HONEST, body=BODY.replace(b"Second", b"Third "))), KEY, "body"),
    "the salt": (of(replace(HONEST, salt=bytes(32))), KEY, "body"),
    "the end": (of(HONEST)[:-40], KEY, "unreadable"),
    "a second spelling of a hash": (_respelled(HONEST), KEY, "unreadable"),
    "another kind of file": (b"%PDF-1.7 not a receipt", KEY, "unreadable"),
    "a list of keys by another root": (
        of(SmallLog(policy=policy(root=ATTACKER)).receipt()),
        str(ROOT.verifier),
        "policy",
    ),
    "a key after its time": (
        of(SmallLog(policy=policy(end=9)).receipt()),
        str(ROOT.verifier),
        "other-log",
    ),
    "an old head by a newer key": (
        of(SmallLog(policy=policy(first=11)).receipt()),
        str(ROOT.verifier),
        "signature",
    ),
    "a place that the entry does not name": (of(_forged(entry(5, at=4)).receipt()), KEY, "entry"),
    "an entry of another log": (
        of(_forged(entry(5, log="other.example/audit/2026")).receipt()),
        KEY,
        "entry",
    ),
    "a member twice": (of(_forged(_twice(entry(5))).receipt()), KEY, "entry"),
    "a key of low order": (of(HONEST), f"{LOG}+{LOW_ID}+{LOW_ORDER}", "key"),
    "what is no key": (of(HONEST), "the clinic said so", "key"),
}


@pytest.mark.real
@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_receipt_fails_with_its_reason(browser: Browser, forgery: str) -> None:
    receipt, key, reason = FORGERIES[forgery]
    code, text = browser.verdict(receipt, key)
    assert code == reason, text


@pytest.mark.real
def test_a_wrong_witness_s_signature_is_named(browser: Browser) -> None:
    receipt = SmallLog(policy=policy(), witnesses=[WITNESS]).receipt()
    line = receipt.note.rstrip("\n").rpartition("\n")[2]
    raw = base64.b64decode(line.rpartition(" ")[2])
    forged = base64.b64encode(_flipped(raw, len(raw) - 1)).decode()
    changed = replace(receipt, note=receipt.note.replace(line.rpartition(" ")[2], forged))
    code, text = browser.verdict(of(changed), str(ROOT.verifier))
    assert (code, WITNESS.name in text) == ("witness", True)


@pytest.mark.real
def test_what_a_hostile_receipt_holds_is_shown_as_text_and_never_run(browser: Browser) -> None:
    hostile = b'{"agent":[{"who":{"display":"<img src=x onerror=document.title=1>","identifier":'
    hostile += b'{"system":"urn:oid:2.999.1.2","value":"centre"}}}]}'
    leaf = entry(5).replace(
        base64.b64encode(hashlib.sha256(bytes(range(32)) + BODY).digest()),
        base64.b64encode(hashlib.sha256(bytes(range(32)) + hostile).digest()),
    )
    receipt = replace(_forged(leaf).receipt(), body=hostile)
    code, text = browser.verdict(of(receipt), KEY)
    assert code == "verified"
    assert "<img src=x" in text
    assert browser.page.title() == "What does this receipt prove?"


@pytest.mark.real
def test_the_page_asks_nothing_of_any_network(browser: Browser) -> None:
    browser.verdict(of(HONEST), KEY)
    assert set(browser.requests) == {PAGE.as_uri()}


def test_the_page_allows_its_own_script_and_style_and_nothing_else() -> None:
    page = PAGE.read_text(encoding="utf-8")
    policies = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert len(policies) == 1
    for tag in ("script", "style"):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policies[0]
    assert policies[0].startswith("default-src 'none';")
    assert not re.search(r"https?://|innerHTML|eval\(|fetch\(|XMLHttp|WebSocket|import\(", page)
