from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.ledger import leaf_hash, tree_hash
from fhir_bridge.manifest import (
    Decision,
    Line,
    Manifest,
    Outcome,
    reconcile,
    root,
    sealed_digest,
)
from fhir_bridge.records import Kind, RecordRef, Sha256

KEY = bytes(range(32))


def line(ref: str, decision: Decision = Decision.RELEASED, outcome: Outcome | None = None) -> Line:
    return Line(
        ref=RecordRef(ref),
        kind=Kind.LABORATORY,
        decision=decision,
        rule="consent-permit",
        sentence="permitted",
        digest=Sha256(hashlib.sha256(ref.encode()).hexdigest()),
        size_bytes=len(ref),
        outcome=outcome,
    )


lines = st.lists(
    st.builds(
        line,
        st.text("abc/1", min_size=1, max_size=6),
        st.sampled_from(Decision),
        st.sampled_from(Outcome),
    ),
    unique_by=lambda one: one.ref,
)


@given(lines)
def test_found_is_the_sum_of_released_withheld_held_unclassified_and_excluded(
    some: list[Line],
) -> None:
    Manifest.of(some).counts().check(delivered=False)


@given(lines)
def test_released_is_the_sum_of_what_became_of_it(some: list[Line]) -> None:
    Manifest.of(some).counts().check(delivered=True)


def test_a_lost_line_is_noticed() -> None:
    counts = Manifest.of([line("Observation/1")]).counts()

    with pytest.raises(AssertionError, match="decisions"):
        replace(counts, found=2).check(delivered=False)
    with pytest.raises(AssertionError, match="outcomes"):
        counts.check(delivered=True)


@given(lines)
def test_lines_are_sorted_by_reference(some: list[Line]) -> None:
    refs = [one.ref for one in Manifest.of(some).lines]

    assert refs == sorted(refs)


def test_a_reference_stands_in_the_manifest_once() -> None:
    with pytest.raises(AssertionError, match="unique"):
        Manifest.of([line("Observation/1"), line("Observation/1")])


def test_the_root_covers_released_lines_in_the_order_of_their_references() -> None:
    first, second = line("Observation/1"), line("Observation/2")

    def leaf(one: Line) -> bytes:
        mac = hmac.new(KEY, one.digest.encode(), hashlib.sha256).hexdigest()
        text = f'{{"bytes":{one.size_bytes},"digest":"{mac}","ref":"{one.ref}"}}'
        return leaf_hash(text.encode())

    assert root([first, second], KEY) == tree_hash([leaf(first), leaf(second)])


def test_a_plain_hash_of_a_small_result_cannot_be_guessed_back_without_the_key() -> None:
    digest = line("Observation/1").digest

    assert digest not in sealed_digest(KEY, digest)
    assert sealed_digest(KEY, digest) != sealed_digest(bytes(32), digest)


def test_the_root_changes_with_each_digest_and_each_size() -> None:
    one = line("Observation/1")
    other = line("Observation/2")

    assert root([one], KEY) != root([other], KEY)


def test_only_what_was_released_can_have_arrived() -> None:
    with pytest.raises(AssertionError, match="released"):
        reconcile(line("Observation/1", Decision.WITHHELD), Outcome.IDENTICAL)


def test_what_became_of_a_line_keeps_the_paths_that_differ() -> None:
    changed = reconcile(line("Observation/1"), Outcome.CHANGED, ["valueQuantity.value"])

    assert changed.outcome is Outcome.CHANGED
    assert changed.paths == ("valueQuantity.value",)
    manifest = Manifest.of([line("Observation/1")]).with_outcomes([changed])
    assert manifest.released == (changed,)
