"""
Store the copies at the second provider, and read every one of them back.

Before the first write the bridge looks at what is there: what is identical is
not sent again, and only a copy of ours that nobody changed since is written
over. A server that can be told to create and never to write over is not asked
about copies that were never there; it says by itself when one is. Immediately
before each request that carries records the consent is asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fhir_bridge import lossless
from fhir_bridge.compare import Comparison, Verdict, differences
from fhir_bridge.errors import BridgeError
from fhir_bridge.fhir_server import Stored, Write
from fhir_bridge.journey.copying import SHARED
from fhir_bridge.journey.parties import Parties, Provider
from fhir_bridge.records import Json, RecordRef, Resource, Sha256, digest
from fhir_bridge.references import dangling
from fhir_bridge.store import NewPairing, Pairing

CREATED_ONLY = frozenset({"Task", "ServiceRequest", "Provenance"})
"""What we author once: at the destination it lives on, so it is never written over."""


class ConsentChanged(BridgeError):
    """A Consent is new, changed or gone since it was weighed; decide again."""

    issue = "conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the bridge knows of the copies that it made before."""

    pairings: Mapping[RecordRef, Pairing]
    again: frozenset[RecordRef] = frozenset()
    """Copies that were deleted there and that a person wants to be made again."""

    def unchanged(self, ref: RecordRef, digest: Sha256) -> bool:
        """Tell whether a copy is as it was when it was verified last."""
        return ref in self.pairings and self.pairings[ref].matches(digest)

    def pairing(self, ref: RecordRef, source: str, verified: Verified) -> NewPairing:
        """Return how a copy was verified just now."""
        former = self.pairings.get(ref)
        digest, etag = verified.digests[ref]
        return NewPairing(
            ref=ref,
            source=source,
            digest=digest,
            etag=etag,
            since=None if former is None or ref in self.again else former.since,
        )


@dataclass(slots=True)
class Looked:
    """What is at the destination for each copy."""

    same: dict[RecordRef, Comparison] = field(default_factory=dict[RecordRef, Comparison])
    """Already there as it would be sent."""
    to_send: list[RecordRef] = field(default_factory=list[RecordRef])
    new: set[RecordRef] = field(default_factory=set[RecordRef])
    """Those of `to_send` that were not looked for: only if nothing is or was there."""
    if_match: dict[RecordRef, str] = field(default_factory=dict[RecordRef, str])
    changed_there: dict[RecordRef, tuple[str, ...]] = field(
        default_factory=dict[RecordRef, tuple[str, ...]]
    )
    """Not ours, or changed at the destination: a person decides."""
    deleted_there: set[RecordRef] = field(default_factory=set[RecordRef])
    """Ours, and deleted at the destination: a person decides."""
    read: dict[RecordRef, Resource] = field(default_factory=dict[RecordRef, Resource])

    @property
    def first_time(self) -> bool:
        """Tell whether nothing was there that only this record's transfers write."""
        there = (*self.same, *self.changed_there, *self.deleted_there)
        return all(ref.partition("/")[0] in SHARED for ref in there)

    def take(self, found: Collection[RecordRef], later: Looked) -> None:
        """Take over what was there after all."""
        self.to_send = [ref for ref in self.to_send if ref not in found] + later.to_send
        self.new.difference_update(found)
        self.same |= later.same
        self.if_match |= later.if_match
        self.changed_there |= later.changed_there
        self.deleted_there |= later.deleted_there
        self.read |= later.read


@dataclass(slots=True)
class Sent:
    """What the destination said it stored."""

    refused: dict[RecordRef, str] = field(default_factory=dict[RecordRef, str])
    """Copy reference to the code of the refusal."""
    sentences: dict[RecordRef, str] = field(default_factory=dict[RecordRef, str])
    found: list[RecordRef] = field(default_factory=list[RecordRef])
    """There already, or deleted there, though nobody looked before it was sent."""
    written_over: list[RecordRef] = field(default_factory=list[RecordRef])
    """There already, and the destination was told not to write over it, and did."""
    stored: int = 0
    requests: int = 0


@dataclass(slots=True)
class Verified:
    """What was read back."""

    comparisons: dict[RecordRef, Comparison] = field(default_factory=dict[RecordRef, Comparison])
    absent: set[RecordRef] = field(default_factory=set[RecordRef])
    dangling: list[tuple[RecordRef, str]] = field(default_factory=list[tuple[RecordRef, str]])
    digests: dict[RecordRef, tuple[Sha256, str]] = field(
        default_factory=dict[RecordRef, tuple[Sha256, str]]
    )
    """Copy reference to the digest and version that were read back."""


def look(
    parties: Parties,
    bodies: Mapping[RecordRef, bytes],
    known: Known,
    *,
    all_of_them: bool,
) -> Looked:
    """
    Look at what the destination holds under the ids of the copies.

    Args:
        parties: Both providers.
        bodies: The copies, as they would be sent.
        known: What is known of copies that were made before.
        all_of_them: Look for every copy; False leaves out those that were never
            verified, where the server creates them without writing over
            anything.

    Returns:
        What is the same, what is to be sent, and what a person must decide.
    """
    looked = Looked()
    server = parties.destination.server
    if not all_of_them and server.capabilities().create_only is not None:
        looked.to_send += [
            ref
            for ref in bodies
            if ref not in known.pairings and ref.partition("/")[0] not in SHARED
        ]
        looked.new.update(looked.to_send)
    there = server.read_many([ref for ref in bodies if ref not in looked.new])
    made_before = (set(known.pairings) | server.gone) - known.again
    for ref in [ref for ref in bodies if ref not in looked.new]:
        resource = there.get(ref)
        if resource is not None:
            _weigh(parties.destination, bodies[ref], resource, known, looked)
        elif ref in made_before:
            looked.deleted_there.add(ref)
        else:
            looked.to_send.append(ref)
    return looked


def _weigh(
    destination: Provider, body: bytes, resource: Resource, known: Known, looked: Looked
) -> None:
    """Tell whether a copy that is there is the same, ours to renew, or changed by someone."""
    ref, content = resource.ref, resource.content()
    looked.read[ref] = resource
    comparison = _compare(destination, lossless.decode_own(body), content)
    if ref.partition("/")[0] in CREATED_ONLY or comparison.verdict is not Verdict.CHANGED:
        looked.same[ref] = comparison
    elif known.unchanged(ref, digest(content)) and resource.version is not None:
        looked.to_send.append(ref)
        looked.if_match[ref] = resource.version
    else:
        looked.changed_there[ref] = comparison.paths


def deliver(  # noqa: PLR0913 - what goes, and who is asked and told
    parties: Parties,
    bodies: Mapping[RecordRef, bytes],
    known: Known,
    looked: Looked,
    *,
    ordered: Callable[[Looked], Sequence[Write]],
    before_send: Callable[[Sequence[Write]], None],
    after_send: Callable[[Sequence[Stored]], None] = lambda _: None,
) -> Sent:
    """
    Send the copies that are not there yet.

    Args:
        parties: Both providers.
        bodies: The copies.
        known: What is known of copies that were made before.
        looked: What is to be sent; what turns out to be there is added.
        ordered: Puts what is to be sent in order.
        before_send: Asks the consent.
        after_send: Is told what was stored.

    Raises:
        ConsentChanged: Nothing was sent after the change was seen.
        DestinationUnreachable: Try again later; what was stored is found then.
    """
    sent = Sent()

    def before(batch: Sequence[Write]) -> None:
        sent.requests += 1
        before_send(batch)

    def go(writes: Sequence[Write]) -> None:
        new = {one.ref for one in writes if one.new}
        server = parties.destination.server
        for one in server.store(writes, before_send=before, after_send=after_send):
            _note(sent, one, new=one.ref in new)

    go(ordered(looked))
    if sent.found:
        later = look(parties, {ref: bodies[ref] for ref in sent.found}, known, all_of_them=True)
        looked.take(sent.found, later)
        go(ordered(later))
    return sent


def _note(sent: Sent, one: Stored, *, new: bool) -> None:
    if one.status == "found":
        sent.found.append(one.ref)
        return
    if new and one.status in {"updated", "unchanged"}:
        sent.written_over.append(one.ref)
    if one.error is None:
        sent.stored += 1
        return
    codes = ", ".join(one.error.codes) or "no reason given"
    sent.refused[one.ref] = "refused"
    sent.sentences[one.ref] = f"refused by the destination ({one.error.status}, {codes})"


def read_back(
    parties: Parties,
    bodies: Mapping[RecordRef, bytes],
    looked: Looked,
    outside: Iterable[RecordRef],
) -> Verified:
    """
    Read every copy back and compare it with what was sent.

    Args:
        parties: Both providers.
        bodies: The copies, as they were sent.
        looked: What was found the same before; it is not read twice.
        outside: What copies refer to that the destination has of its own.
    """
    verified = Verified()
    read = {ref: looked.read[ref] for ref in looked.same}
    missing = [ref for ref in bodies if ref not in read]
    later = parties.destination.server.read_many(missing)
    read |= {ref: one for ref, one in later.items() if one is not None}
    for ref, body in bodies.items():
        if ref not in read:
            verified.absent.add(ref)
            continue
        resource = read[ref]
        content = resource.content()
        verified.digests[ref] = (digest(content), resource.version or "")
        verified.comparisons[ref] = (
            looked.same[ref]
            if ref in looked.same
            else _compare(parties.destination, lossless.decode_own(body), content)
        )
    known = set(read) | set(outside)
    verified.dangling = _dangling(parties, read, known)
    return verified


def _dangling(
    parties: Parties, read: Mapping[RecordRef, Resource], known: set[RecordRef]
) -> list[tuple[RecordRef, str]]:
    """Walk what is at the destination; ask it about references that we did not write."""
    server = parties.destination.server

    def contents() -> Iterable[tuple[RecordRef, Json]]:
        return ((ref, resource.content()) for ref, resource in read.items())

    suspects = dangling(contents(), server.base, known)
    if not suspects:
        return []
    asked = sorted({one.to for one in suspects if one.to is not None})
    there = {ref for ref, one in server.read_many(asked).items() if one is not None}
    return [(one.ref, one.path) for one in suspects if one.to is None or one.to not in there]


def _compare(destination: Provider, sent: Json, read: Json) -> Comparison:
    server = destination.server
    known = server.capabilities().normalisations
    return differences(sent, read, known, base=server.base)
