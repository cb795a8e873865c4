"""What the store keeps of a transfer, and what it must not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from fhir_bridge.errors import Refused, SettingsError, Tampered
from fhir_bridge.ledger import Event, NewEntry
from fhir_bridge.manifest import Decision, Gap, Line, Outcome, sealed_digest
from fhir_bridge.records import Kind, RecordRef, Sha256
from fhir_bridge.store import LineRow, NewPairing, Ruling, Store, TransferRow
from tests.simulators.stores import Place

KEY = "ab" * 32
REQUEST = b'{"question":"canary-question","patient":"canary-patient"}'
LAB = RecordRef("Observation/lab-1")


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with place.open() as store:
        yield store


@pytest.fixture
def transfer(store: Store) -> str:
    return create(store).id


def create(store: Store, key: str = KEY, request: bytes = REQUEST) -> TransferRow:
    return store.create_transfer(
        key=key, state="requested", source="first", destination="second", request=request
    )


def test_the_same_referral_is_the_same_transfer(store: Store) -> None:
    first = create(store)

    assert create(store) == first
    assert store.find_by_key(KEY) == first == store.read_transfer(first.id)
    assert store.find_by_key("cd" * 32) is None
    assert create(store, key="cd" * 32).id != first.id


def test_of_the_same_referral_what_was_asked_last_counts_when_it_is_taken_up(store: Store) -> None:
    first = create(store)

    assert create(store, request=b"other") == first
    assert store.request(first.id) == b"other"

    store.erase(first.id, actor="cli:ada")
    assert create(store) == store.read_transfer(first.id)
    with pytest.raises(Refused, match="erased"):
        store.request(first.id)


def test_transfers_are_listed_oldest_first(store: Store) -> None:
    rows = [create(store, key=f"{at:064x}") for at in range(5)]

    assert store.transfers() == tuple(rows)


def test_where_a_transfer_stands_is_kept(store: Store, transfer: str) -> None:
    store.set_state(transfer, "announced")
    first = store.read_transfer(transfer)
    store.set_state(transfer, "requested", attempt=2)
    second = store.read_transfer(transfer)

    assert (first.state, first.attempt, first.manifest) == ("announced", 1, 0)
    assert (second.state, second.attempt) == ("requested", 2)
    assert first.created == second.created < first.updated < second.updated


def test_a_transfer_that_is_not_there_is_named(store: Store) -> None:
    for ask in (
        store.read_transfer,
        store.request,
        store.transfer_key,
        lambda id_: store.set_state(id_, "closed"),
        lambda id_: store.erase(id_, actor="cli:ada"),
    ):
        with pytest.raises(SettingsError, match="no transfer nowhere"):
            ask("nowhere")


def test_what_was_asked_stands_in_no_file_of_the_store(
    store: Store, transfer: str, place: Place
) -> None:
    said = NewEntry(
        type=Event.RECORD_RELEASED,
        actor="cli:ada",
        transfer=transfer,
        statement={"by": "canary-name", "reason": "canary-reason"},
    )
    store.append(said, event_id=transfer)
    store.subject("https://first.example/fhir/Patient/canary-7", transfer)
    with store.lease("second", "Patient/canary-8"):
        assert b"canary" not in place.everything()
    store.remember_pairings(
        "second", [NewPairing(ref=LAB, source="x/y", digest=Sha256("0d" * 32), etag='W/"1"')]
    )

    assert b"0d" * 32 not in place.everything()
    assert b"canary" not in place.everything()
    assert store.transfer_key(transfer) not in place.everything()


def test_each_transfer_has_a_key_of_its_own(store: Store, transfer: str) -> None:
    other = create(store, key="cd" * 32).id
    keys = {store.transfer_key(transfer), store.transfer_key(other)}

    assert len(keys) == 2
    assert {len(key) for key in keys} == {32}
    assert store.transfer_key(transfer) in keys


def test_the_same_patient_is_another_number_in_each_transfer(store: Store, transfer: str) -> None:
    other = create(store, key="cd" * 32).id
    patient = "https://first.example/fhir/Patient/1"
    numbers = {
        store.subject(patient, transfer),
        store.subject(patient, other),
        store.subject("https://first.example/fhir/Patient/2", transfer),
    }

    assert len(numbers) == 3
    assert store.subject(patient, transfer) in numbers
    entry = NewEntry(
        type=Event.PATIENT_ASKED,
        actor="cli:ada",
        transfer=transfer,
        subject=store.subject(patient, transfer),
    )
    assert store.append(entry, event_id=transfer).first == 1


def test_a_sealed_request_does_not_open_in_another_transfers_row(
    store: Store, transfer: str, place: Place
) -> None:
    other = create(store, key="cd" * 32).id
    place.alter(
        "update transfer set request = (select request from transfer where id = ?) where id = ?",
        values=(transfer, other),
    )

    with pytest.raises(Tampered, match="does not open"):
        store.request(other)


def test_an_erased_transfer_keeps_its_entries_and_the_log_verifies(
    store: Store, transfer: str, place: Place
) -> None:
    said = NewEntry(
        type=Event.RECORD_WITHHELD, actor="cli:ada", transfer=transfer, statement={"by": "Ada"}
    )
    store.append(said, event_id=transfer)
    (rows,) = place.rows("select request, transfer_key from transfer")
    ((body,),) = place.rows("select body from audit_body")
    store.erase(transfer, actor="cli:ada")
    store.erase(transfer, actor="cli:ada")

    for ask in (store.request, store.transfer_key):
        with pytest.raises(Refused, match="--new"):
            ask(transfer)
    assert store.statement(1) is None
    assert [entry.type for entry in store.entries(transfer)] == [
        Event.RECORD_WITHHELD,
        Event.ERASURE_DONE,
    ]
    assert store.verify().erased == 1
    left = place.everything()
    assert not any(gone in left for gone in (*rows, body))


def test_erasing_one_transfer_leaves_the_others(store: Store, transfer: str) -> None:
    other = create(store, key="cd" * 32).id
    said = NewEntry(
        type=Event.RECORD_WITHHELD, actor="cli:ada", transfer=other, statement={"by": "Ada"}
    )
    store.append(said, event_id=other)
    store.erase(transfer, actor="cli:ada")

    assert store.request(other) == REQUEST
    assert store.statement(1) == {"by": "Ada"}


def test_a_patients_transfers_are_found_until_the_last_of_them_is_erased(
    store: Store, transfer: str
) -> None:
    patient, other = "https://first.example/fhir/Patient/1", create(store, key="cd" * 32).id
    for id_ in (transfer, other):
        subject = store.subject(patient, id_)
        asked = NewEntry(
            type=Event.TRANSFER_REQUESTED, actor="cli:ada", transfer=id_, subject=subject
        )
        store.append(asked, event_id=id_)

    assert [row.id for row in store.transfers_about(patient)] == [transfer, other]
    assert store.transfers_about("https://first.example/fhir/Patient/2") == ()
    store.erase(transfer, actor="cli:ada")
    assert [row.id for row in store.transfers_about(patient)] == [transfer, other]
    store.erase(other, actor="cli:ada")
    assert store.transfers_about(patient) == ()
    store.verify()


def test_an_erased_transfer_keeps_no_line_of_its_manifest(store: Store, transfer: str) -> None:
    store.save_manifest(transfer, 1, [line("Observation/canary")])

    store.erase(transfer, actor="cli:ada")

    assert store.manifest(transfer) == ()


def line(ref: str, **changes: object) -> LineRow:
    row = LineRow(
        ref=RecordRef(ref),
        kind=Kind.LABORATORY,
        decision=Decision.RELEASED,
        rule="consent-permit",
        sentence="Consent/c1 permits it",
        mac="ef" * 32,
        size_bytes=812,
    )
    return replace(row, **changes)  # type: ignore[arg-type]


FULL = line(
    "Binary/pdf",
    kind=None,
    decision=Decision.HELD,
    attachment=True,
    consent="Consent/c1",
    consent_version="3",
    provision="provision.provision[1]",
    bundle=7,
    destination="Binary/x",
    outcome=Outcome.CHANGED,
    paths=("Observation.value[x]", "a"),
    severed=("DiagnosticReport.encounter",),
    documents=("Binary/1", "Binary/2"),
)
GAP = Gap(ref="Observation/gone", reason="not-found", sentence="It is not there.", at="source")
FULL_GAP = replace(GAP, ref="x", at="destination", referrer=LAB, accepted=True)


def test_a_manifest_reads_back_as_it_was_kept_sorted_by_reference(
    store: Store, transfer: str
) -> None:
    lines = [line("Observation/2"), FULL, line("Observation/10")]
    store.save_manifest(transfer, 1, lines, [GAP, FULL_GAP])

    assert store.manifest(transfer) == (FULL, line("Observation/10"), line("Observation/2"))
    assert store.gaps(transfer) == (GAP, FULL_GAP)
    assert store.read_transfer(transfer).manifest == 1


def test_the_last_manifest_is_given_unless_another_is_named(store: Store, transfer: str) -> None:
    other = create(store, key="cd" * 32).id
    store.save_manifest(transfer, 1, [line("Observation/1")], [GAP])
    store.save_manifest(transfer, 2, [line("Observation/2")])
    store.save_manifest(other, 1, [line("Observation/3")], [FULL_GAP])

    assert store.manifest(transfer) == (line("Observation/2"),)
    assert store.gaps(transfer) == ()
    assert store.manifest(transfer, 1) == (line("Observation/1"),)
    assert store.gaps(transfer, 1) == (GAP,)
    assert store.manifest("nowhere") == ()


def test_a_manifest_kept_again_replaces_the_one_of_its_number(store: Store, transfer: str) -> None:
    store.save_manifest(transfer, 1, [line("Observation/1"), line("Observation/2")], [GAP])
    store.save_manifest(transfer, 1, [line("Observation/2")], [])
    store.save_manifest(transfer, 2, [])

    assert store.manifest(transfer, 1) == (line("Observation/2"),)
    assert store.gaps(transfer, 1) == ()
    assert store.manifest(transfer, 2) == ()


def test_what_became_of_a_line_is_written_to_that_line(store: Store, transfer: str) -> None:
    store.save_manifest(transfer, 1, [line("Observation/1"), line("Observation/2")])
    store.save_manifest(transfer, 2, [line("Observation/1"), line("Observation/2")])
    store.update_outcomes(transfer, 2, {})
    store.update_outcomes(
        transfer, 2, {RecordRef("Observation/2"): (Outcome.CHANGED, ["Observation.status"])}
    )

    changed = line("Observation/2", outcome=Outcome.CHANGED, paths=("Observation.status",))
    assert store.manifest(transfer) == (line("Observation/1"), changed)
    assert store.manifest(transfer, 1) == (line("Observation/1"), line("Observation/2"))


def test_a_line_is_kept_with_its_digest_sealed(store: Store, transfer: str, place: Place) -> None:
    full = Line(
        ref=LAB,
        kind=Kind.PATHOLOGY,
        decision=Decision.RELEASED,
        rule="consent-permit",
        sentence="Consent/c1 permits it",
        digest=Sha256("12" * 32),
        size_bytes=5,
        consent=RecordRef("Consent/c1"),
        consent_version="1",
        provision="provision",
        destination=RecordRef("Observation/x"),
        outcome=Outcome.IDENTICAL,
        paths=("a",),
        severed=("b",),
    )
    key = store.transfer_key(transfer)
    row = LineRow.of(full, key, bundle=3, documents=("Binary/1",))
    store.save_manifest(transfer, 1, [row])

    assert store.manifest(transfer) == (row,)
    assert row.mac == sealed_digest(key, full.digest) != full.digest
    for name in ("ref", "kind", "decision", "rule", "sentence", "size_bytes", "attachment"):
        assert getattr(row, name) == getattr(full, name)
    for name in ("consent", "consent_version", "provision", "destination", "outcome", "paths"):
        assert getattr(row, name) == getattr(full, name)
    assert (row.severed, row.bundle, row.documents) == (("b",), 3, ("Binary/1",))
    assert full.digest.encode() not in place.everything()


def test_the_last_ruling_about_a_reference_holds(store: Store, transfer: str) -> None:
    store.remember_rulings(
        transfer, [Ruling(ref="a", word="released", mac="m"), Ruling(ref="b", word="accepted")]
    )
    store.remember_rulings(transfer, [Ruling(ref="a", word="withheld", mac="n")])

    assert store.rulings(transfer) == {
        "a": Ruling(ref="a", word="withheld", mac="n"),
        "b": Ruling(ref="b", word="accepted"),
    }
    assert store.rulings("nowhere") == {}


def pairing(ref: str, digest: str, etag: str | None = None) -> NewPairing:
    return NewPairing(
        ref=RecordRef(ref), source=f"first/{ref}", digest=Sha256(digest * 32), etag=etag
    )


def test_a_copy_is_recognised_by_the_digest_it_was_last_verified_with(store: Store) -> None:
    store.remember_pairings("second", [pairing("Observation/1", "aa"), pairing("Patient/2", "bb")])
    store.remember_pairings("second", [pairing("Observation/1", "cc", 'W/"2"')])
    store.remember_pairings("second", [])
    known = store.pairing("second", RecordRef("Observation/1"))

    assert known is not None
    assert known.matches(Sha256("cc" * 32))
    assert not known.matches(Sha256("aa" * 32))
    assert (known.ref, known.source, known.etag) == (
        "Observation/1",
        "first/Observation/1",
        'W/"2"',
    )
    assert store.pairing("third", RecordRef("Observation/1")) is None
    assert "mac" not in repr(known)


def test_the_same_digest_is_kept_as_another_number_for_each_copy(store: Store) -> None:
    refs = [RecordRef(f"Observation/{at}") for at in range(1001)]
    store.remember_pairings("second", [pairing(ref, "aa") for ref in refs])
    known = store.pairings("second", refs)

    assert list(known) != []
    assert set(known) == set(refs)
    assert len({one.mac for one in known.values()}) == 1001
    assert all(one.matches(Sha256("aa" * 32)) for one in known.values())
