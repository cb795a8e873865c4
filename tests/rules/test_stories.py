"""The stories that ship are about invented people, complete in themselves, and add up."""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhir_bridge import codes, lossless, stories
from fhir_bridge.errors import SettingsError
from fhir_bridge.records import Json
from fhir_bridge.stories import Story

HTEST = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HTEST"}
NAMES = ("amelia", "bruno", "celia")


@pytest.fixture(scope="module", params=NAMES)
def story(request: pytest.FixtureRequest) -> Story:
    return stories.load(request.param)


def folder(story: Story) -> Path:
    return codes.shipped("fixtures") / story.name


def by_ref(resources: tuple[Json, ...]) -> dict[str, Json]:
    return {f"{one['resourceType']}/{one['id']}": one for one in resources}


def objects(value: Any) -> Iterator[Json]:
    """Give every JSON object inside a value."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner)


def local_targets(content: Json) -> Iterator[str]:
    """Give what a resource refers to at its own server, documents included."""
    for one in objects(content):
        for target in (one.get("reference"), one.get("url") if "contentType" in one else None):
            if isinstance(target, str) and not target.startswith(("#", "https:")):
                yield target.partition("/_history/")[0]


def test_three_stories_ship() -> None:
    assert stories.names() == NAMES


@pytest.mark.parametrize("name", ["", "dora", "../fixtures/amelia", "amelia/files"])
def test_a_story_that_does_not_exist_is_refused_with_those_that_do(name: str) -> None:
    with pytest.raises(SettingsError, match="there are amelia, bruno, celia"):
        stories.load(name)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("source.json", None),
        ("source.json", "{"),
        ("destination.json", "{}"),
        ("expected.json", "[NaN]"),
        ("story.json", "{}"),
        ("story.json", "[]"),
    ],
)
def test_a_damaged_story_says_so(
    file: str, text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(codes.shipped("fixtures"), tmp_path / "fixtures")
    monkeypatch.setattr(codes, "_PACKAGE", tmp_path)
    damaged = tmp_path / "fixtures" / "amelia" / file
    damaged.unlink()
    if text is not None:
        damaged.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="story amelia is damaged: install fhir-bridge again"):
        stories.load("amelia")


def test_every_resource_of_a_story_is_labelled_as_test_data(story: Story) -> None:
    for one in (*story.source, *story.destination):
        assert HTEST in one["meta"]["security"], one["id"]


def test_a_story_names_its_parties_and_its_patient(story: Story) -> None:
    source, destination = by_ref(story.source), by_ref(story.destination)
    person, candidate = source[story.patient], destination[story.at_destination]
    assert person["birthDate"] == candidate["birthDate"]
    assert person["name"][0]["family"].casefold() == candidate["name"][0]["family"].casefold()
    assert person["identifier"][0] == candidate["identifier"][0]
    identifiers = [
        f"{identifier['system']}|{identifier['value']}"
        for one in story.source
        if one["resourceType"] == "Organization"
        for identifier in one["identifier"]
    ]
    assert story.custodian.identifier in identifiers
    assert story.recipient.identifier in identifiers


def test_every_resource_of_the_source_has_one_decision_or_is_not_read(story: Story) -> None:
    lines, unread = set(story.expected["lines"]), set(story.expected["unread"])
    assert lines | unread == set(by_ref(story.source))
    assert not lines & unread


def test_expected_counts_are_the_sums_of_the_lines(story: Story) -> None:
    counts = story.expected["counts"]
    decisions = Counter(line["decision"] for line in story.expected["lines"].values())
    names = ("released", "withheld", "held", "unclassified", "excluded")
    assert {name: counts[name] for name in names} == {name: decisions[name] for name in names}
    assert counts["found"] == sum(decisions.values())
    assert counts["severed"] == sum(map(len, story.expected["severed"].values()))


def test_a_bundle_is_one_transaction_of_puts(story: Story) -> None:
    for raw, resources in (
        (story.source_bundle, story.source),
        (story.destination_bundle, story.destination),
    ):
        bundle = lossless.decode(raw)
        assert bundle["type"] == "transaction"
        assert [entry["request"] for entry in bundle["entry"]] == [
            {"method": "PUT", "url": ref} for ref in by_ref(resources)
        ]
        assert [entry["fullUrl"].split("/fhir/")[1] for entry in bundle["entry"]] == [
            *by_ref(resources)
        ]


def test_what_dangles_in_a_story_is_a_gap_that_it_names(story: Story) -> None:
    held = by_ref(story.source)
    dangling = {
        target for one in story.source for target in local_targets(one) if target not in held
    }
    assert dangling == {
        gap["ref"] for gap in story.expected["gaps"] if gap["reason"] == "not-found"
    }


def test_values_stand_in_the_source_as_they_must_arrive(story: Story) -> None:
    held = by_ref(story.source)
    for ref, text in story.expected["texts"].items():
        assert lossless.number_text(held[ref]["valueQuantity"]["value"]) == text


def test_documents_have_the_hash_and_size_that_their_attachments_say(story: Story) -> None:
    held = by_ref(story.source)
    files = {path.read_bytes() for path in (folder(story) / "files").iterdir()}
    attachments = [one for one in objects(list(story.source)) if one.get("url") in held]
    assert attachments
    for attachment in attachments:
        binary = held[attachment["url"]]
        data = base64.b64decode(binary["data"], validate=True)
        sha1 = hashlib.sha1(data, usedforsecurity=False).digest()
        assert attachment["hash"] == base64.b64encode(sha1).decode()
        assert (attachment["size"], attachment["contentType"]) == (len(data), binary["contentType"])
        assert data in files
        assert data.startswith((b"%PDF-", b"\x89PNG"))


def test_released_documents_are_expected_byte_for_byte(story: Story) -> None:
    held = by_ref(story.source)
    released = {
        ref
        for ref, line in story.expected["lines"].items()
        if ref.startswith("Binary/") and line["decision"] == "released"
    }
    assert released == set(story.expected["documents"])
    for ref, document in story.expected["documents"].items():
        data = (folder(story) / document["file"]).read_bytes()
        assert data == base64.b64decode(held[ref]["data"])
        assert document["size"] == len(data)
        assert document["sha256"] == hashlib.sha256(data).hexdigest()


def test_consents_end_in_2099_and_the_expired_one_lies_in_the_past(story: Story) -> None:
    for one in story.source:
        if one["resourceType"] != "Consent":
            continue
        end = one["provision"]["period"]["end"]
        expired = "ended" in story.expected["unread"][f"Consent/{one['id']}"]
        assert end < "2025" if expired else end == "2099-12-31"


def test_released_records_do_not_name_what_must_stay(story: Story) -> None:
    touched = set(story.expected["severed"])
    for ref, one in by_ref(story.source).items():
        line = story.expected["lines"].get(ref)
        if line is None or line["decision"] != "released" or ref in touched:
            continue
        text = lossless.encode(one).decode()
        found = [word for word in story.expected["never_at_destination"] if word in text]
        assert not found, f"{ref} names {found}"


def test_paths_that_change_in_a_copy_exist_in_the_source(story: Story) -> None:
    held = by_ref(story.source)
    for changes in (story.expected["severed"],):
        for ref, paths in changes.items():
            for path in paths:
                assert element(held[ref], path) is not None, f"{ref} {path}"


def element(content: Any, path: str) -> Any:
    """Follow a path such as ``presentedForm[0].url``."""
    for step in path.replace("]", "").replace("[", ".").split("."):
        content = content[int(step)] if step.isdigit() else content[step]
    return content
