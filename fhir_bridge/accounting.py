"""
The accounting of disclosures: what left about one patient, when, to whom, why.

It is read from the signed log and from the sealed bodies of its entries, never
from what the bridge means to have done. Names and addresses of organisations
are the operator's of today; everything else is as it was signed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from fhir_bridge.audit import NO_PERMIT, Opened
from fhir_bridge.ledger import Checkpoint, Entry, Event

_OK = "0"
_STOPS = {"consent.revoked", "transfer.cancelled"}
_KIND = "of-kind-"


class Ending(StrEnum):
    """How a disclosure ended."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    STOPPED = "stopped"
    """A consent changed or a person cancelled it while it ran; the rest was not sent."""
    UNKNOWN = "unknown"
    """No result is signed yet: up to all of it may have gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """The organisation that received."""

    identifier: str
    """``system|value``, as signed."""
    name: str = ""
    """Empty when the settings do not name it any more."""
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosure:
    """One line of the accounting."""

    transfer: str
    at: str
    """When it was announced: nothing left before. UTC, as in the log."""
    recipient: Recipient
    custodian: str
    purpose: str
    """Code of v3-ActReason."""
    basis: str
    """``consent`` or ``treatment``."""
    consents: tuple[tuple[str, str], ...]
    """Reference at the source, and version."""
    lines: int
    """Records and documents that were at the recipient by it; 0: identifiers only."""
    size_bytes: int
    kinds: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many of each kind; empty when the event was erased or does not say."""
    new: int | None = None
    """How many of them this disclosure brought; None when it is not known."""
    ending: Ending = Ending.UNKNOWN
    images: int = 0
    """Studies whose images stayed behind."""
    erased: bool = False
    """The events' bodies were erased: the log's own members are all there is."""
    log: str
    entry: int
    """Index of the announcement."""
    result: int | None = None
    """Index of the result; None while there is none."""
    result_log: str = ""
    """The log that it is in: what is sent over New Year ends in the next."""
    checkpoint: Checkpoint
    """Covers both."""

    @property
    def identifiers_only(self) -> bool:
        """Tell whether the recipient was only asked for the patient."""
        return self.lines == 0


Read = Callable[[Entry], Opened | None]
"""Opens an entry's body; None when it was erased or there is none."""


def disclosures(
    entries: Iterable[Entry],
    read: Read,
    named: Callable[[Entry], Recipient],
    checkpoint: Callable[[Entry], Checkpoint],
) -> tuple[Disclosure, ...]:
    """
    Return what left under one transfer.

    Args:
        entries: All of the transfer's, oldest first.
        read: Opens a body.
        named: Names the recipient of an entry.
        checkpoint: Returns a verified checkpoint that covers an entry.

    Returns:
        One line for each announcement under which something new left, and one
        for asking for the patient where nothing else followed.
    """
    reader = _Reader(read, named, checkpoint)
    for entry in entries:
        reader.take(entry)
    return tuple(reader.lines())


class _Reader:
    """Goes through a transfer's entries once."""

    def __init__(
        self,
        read: Read,
        named: Callable[[Entry], Recipient],
        checkpoint: Callable[[Entry], Checkpoint],
    ) -> None:
        self._read = read
        self._named = named
        self._checkpoint = checkpoint
        self._found: list[Disclosure] = []
        self._roots: list[str] = []
        self._asked: Entry | None = None
        self._stopped = False

    def take(self, entry: Entry) -> None:
        if entry.type is Event.PATIENT_ASKED:
            self._only_asked()
            self._asked = entry
        elif entry.type is Event.DISCLOSURE_INTENT:
            self._begin(entry)
        elif str(entry.type) in _STOPS:
            self._stopped = True
        elif entry.type is Event.DISCLOSURE_RESULT:
            self._end(entry)
        elif entry.type is Event.TRANSFER_CLOSED:
            self._close(entry)

    def lines(self) -> Iterator[Disclosure]:
        self._only_asked()
        yield from self._found

    def _begin(self, entry: Entry) -> None:
        self._found.append(self._line(entry))
        self._roots.append("")
        self._stopped = False

    def _end(self, entry: Entry) -> None:
        """Say how the last announcement ended; drop it when it brought nothing new."""
        assert entry.content is not None, "a result says what arrived"
        said = self._read(entry)
        line = replace(
            self._found[-1],
            lines=entry.content.count,
            size_bytes=entry.content.size_bytes,
            kinds=_kinds(said),
            new=_number(said, "new"),
            ending=self._ending(entry),
            result=entry.idx,
            result_log=entry.log,
            erased=said is None,
            checkpoint=self._checkpoint(entry),
        )
        again = line.new == 0 and entry.content.root in self._roots
        if line.lines == 0 or again:
            self._found.pop()
            self._roots.pop()
        else:
            self._found[-1], self._roots[-1] = line, entry.content.root
            self._asked = None

    def _ending(self, entry: Entry) -> Ending:
        if entry.outcome == _OK:
            return Ending.COMPLETE
        return Ending.STOPPED if self._stopped else Ending.INCOMPLETE

    def _close(self, entry: Entry) -> None:
        said = self._read(entry)
        if self._found and self._found[-1].result is not None:
            images = _number(said, "images") or 0
            self._found[-1] = replace(self._found[-1], images=images)

    def _only_asked(self) -> None:
        """List the question for the patient where the recipient got nothing else by then."""
        under_way = bool(self._found) and self._found[-1].ending is Ending.UNKNOWN
        has_records = any(not one.identifiers_only for one in self._found)
        if self._asked is not None and not under_way and not has_records:
            line = replace(self._line(self._asked), lines=0, size_bytes=0, kinds={}, new=None)
            self._found.append(replace(line, ending=Ending.COMPLETE))
            self._roots.append("")
        self._asked = None

    def _line(self, entry: Entry) -> Disclosure:
        said = self._read(entry)
        return Disclosure(
            transfer=(entry.transfer or "").removeprefix("urn:uuid:"),
            at=entry.t,
            recipient=self._named(entry),
            custodian=entry.custodian or "",
            purpose=entry.purpose or "",
            basis=entry.basis or "",
            consents=_consents(entry, said),
            lines=0 if entry.content is None else entry.content.count,
            size_bytes=0 if entry.content is None else entry.content.size_bytes,
            kinds=_kinds(said),
            erased=said is None,
            log=entry.log,
            entry=entry.idx,
            checkpoint=self._checkpoint(entry),
        )


def _consents(entry: Entry, said: Opened | None) -> tuple[tuple[str, str], ...]:
    """Return the Consents that permitted; the log's own list also has those that only limit."""
    limiting = {one.ref for one in said.consents if one.reason == NO_PERMIT} if said else set()
    return tuple((one.id, one.version) for one in entry.consent if one.id not in limiting)


def _kinds(said: Opened | None) -> dict[str, int]:
    if said is None:
        return {}
    return {
        name.removeprefix(_KIND): int(number)
        for name, number in said.details.items()
        if name.startswith(_KIND)
    }


def _number(said: Opened | None, name: str) -> int | None:
    return None if said is None or name not in said.details else int(said.details[name])


def since(found: Sequence[Disclosure], date: str) -> tuple[Disclosure, ...]:
    """Return the disclosures of a day and later."""
    return tuple(one for one in found if one.at >= date)
