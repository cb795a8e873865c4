"""
The policy: which keys sign a log, at which sizes, and which witnesses must agree.

The text is a https://c2sp.org/tlog-policy. An offline root key signs it as a
note, so that whoever holds the root's public key needs nothing else. The sizes
of an epoch key stand where that format has a URL of the application's own
meaning: ``urn:fhir-bridge:sizes:FIRST-END``, without END for the key in use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

from fhir_bridge.errors import SettingsError
from fhir_bridge.ledger.cosignature import WitnessKey
from fhir_bridge.ledger.note import Note, Signer, VerifierKey

NO_QUORUM = "none"

_TEXT_CHARS_MAX = 64 * 1024
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_SIZES = re.compile(r"urn:fhir-bridge:sizes:(0|[1-9][0-9]{0,18})-([1-9][0-9]{0,18})?\Z")
_NUMBER = re.compile(r"[1-9][0-9]{0,3}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """A key of a log and the sizes of the checkpoints that it signs."""

    key: VerifierKey
    """Its name is the log's."""
    first: int = 0
    end: int | None = None
    """The first size that it does not sign; None while it is in use."""

    def covers(self, size: int) -> bool:
        """Say whether the key signs the checkpoint of a size."""
        return self.first <= size and (self.end is None or size < self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Witnesses, or groups of them, of which some must agree."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    Who must have signed a checkpoint that is to be believed.

    Where a log passes from one key to the next, the checkpoint that covers the
    passing is signed by both: the next epoch begins at the last size of the one
    before.

    Raises:
        SettingsError: The epochs of a log leave a hole or overlap further, a
            key is named twice, or a group or the quorum names what there is not.
    """

    epochs: tuple[Epoch, ...]
    witnesses: Mapping[str, WitnessKey] = field(default_factory=dict)
    """By the name that groups and quorum use."""
    groups: Mapping[str, Group] = field(default_factory=dict)
    """A group names only witnesses and groups before it."""
    quorum: str = NO_QUORUM

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        # At New Year a key goes on under the next log's name.
        _refuse_twice((str(epoch.key).encode() for epoch in self.epochs), "a log's key")
        _refuse_twice((key.public for key in self.witnesses.values()), "a witness's key")
        for log in self.logs:
            _check_epochs([epoch for epoch in self.epochs if epoch.key.name == log])
        _check_groups(self.witnesses, self.groups)
        if self.quorum not in {NO_QUORUM, *self.witnesses, *self.groups}:
            raise SettingsError("the policy's quorum names a witness or group that it has not")

    @property
    def logs(self) -> tuple[str, ...]:
        """Return the names of the logs that it speaks of, in its order."""
        return tuple(dict.fromkeys(epoch.key.name for epoch in self.epochs))

    def epochs_at(self, log: str, size: int) -> tuple[Epoch, ...]:
        """Return the epochs whose keys must all have signed a log's checkpoint of a size."""
        return tuple(epoch for epoch in self.epochs if epoch.key.name == log and epoch.covers(size))

    def is_met(self, agreed: Collection[str]) -> bool:
        """
        Say whether enough witnesses agree; always true where none is asked for.

        Args:
            agreed: Names of the witnesses that cosigned.
        """
        met = {NO_QUORUM, *(name for name in self.witnesses if name in agreed)}
        for name, group in self.groups.items():
            if sum(member in met for member in group.members) >= group.threshold:
                met.add(name)
        return self.quorum in met

    def __str__(self) -> str:
        """Write the policy as text, which `parse` reads."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        for epoch in self.epochs:
            end = "" if epoch.end is None else epoch.end
            yield f"log {epoch.key} urn:fhir-bridge:sizes:{epoch.first}-{end}"
        for name, key in self.witnesses.items():
            yield f"witness {name} {key}"
        for name, group in self.groups.items():
            yield f"group {name} {group.threshold} {' '.join(group.members)}"
        yield f"quorum {self.quorum}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read a policy.

        Args:
            text: From someone the reader trusts, or signed by the root key.

        Raises:
            SettingsError: Not a policy; the message names the line.
        """
        if len(text) > _TEXT_CHARS_MAX or _CONTROL.search(text):
            raise SettingsError("the policy is too long or holds control characters")
        draft = _Draft()
        for number, line in enumerate(text.split("\n"), start=1):
            words = re.findall(r"[^ \t]+", line)
            if words and not words[0].startswith("#"):
                draft.take(words, f"line {number} of the policy")
        if draft.quorum is None:
            raise SettingsError("the policy has no line that says its quorum")
        return cls(
            epochs=tuple(draft.epochs),
            witnesses=draft.witnesses,
            groups=draft.groups,
            quorum=draft.quorum,
        )

    @classmethod
    def open(cls, note: str, root: VerifierKey) -> Self:
        """
        Read a policy that the root key signed.

        Args:
            note: Untrusted.
            root: From outside whatever the note came with.

        Raises:
            MalformedCheckpoint: Not a signed note.
            AlteredLog: The root did not sign it.
            SettingsError: What the root signed is not a policy.
        """
        return cls.parse(root.open_read(Note.parse(note)))

    def signed(self, root: Signer) -> str:
        """Return the policy as a note signed by the root key."""
        return root.sign(str(self))

    @classmethod
    def of_key(cls, key: VerifierKey) -> Self:
        """Return the policy of a log with one key and no witness."""
        return cls(epochs=(Epoch(key=key),))


class _Draft:
    """A policy while it is read, line by line."""

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []
        self.witnesses: dict[str, WitnessKey] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None

    def take(self, words: list[str], where: str) -> None:
        keyword, *rest = words
        lines: dict[str, tuple[Callable[[list[str], str], None], int, int]] = {
            "log": (self._log, 1, 2),
            "witness": (self._witness, 2, 3),
            "group": (self._group, 3, len(rest)),
            "quorum": (self._quorum, 1, 1),
        }
        if keyword not in lines:
            raise SettingsError(f"{where} begins with a word that no policy knows")
        act, least, most = lines[keyword]
        if not least <= len(rest) <= most:
            raise SettingsError(f"{where} has too few or too many words")
        act(rest, where)

    def _log(self, words: list[str], where: str) -> None:
        first, end = 0, None
        if len(words) > 1 and words[1].startswith("urn:fhir-bridge:"):
            sizes = _SIZES.match(words[1])
            if sizes is None:
                raise SettingsError(f"{where} does not say sizes as FIRST-END")
            first, end = int(sizes[1]), int(sizes[2]) if sizes[2] else None
        self.epochs.append(Epoch(key=VerifierKey.parse(words[0]), first=first, end=end))

    def _witness(self, words: list[str], where: str) -> None:
        self._refuse_known(words[0], where)
        self.witnesses[words[0]] = WitnessKey.parse(words[1])

    def _group(self, words: list[str], where: str) -> None:
        name, threshold, *members = words
        self._refuse_known(name, where)
        counts = {"all": len(members), "any": 1}
        if threshold not in counts and not _NUMBER.match(threshold):
            raise SettingsError(f"{where} has a threshold that is not any, all or a number")
        count = counts.get(threshold) or int(threshold)
        # A later line may define what this one names: that would be a circle, or close to one.
        if not {*members} <= {*self.witnesses, *self.groups}:
            raise SettingsError(f"{where} names a witness or group that no line before it defines")
        self.groups[name] = Group(threshold=count, members=tuple(members))

    def _quorum(self, words: list[str], where: str) -> None:
        if self.quorum is not None:
            raise SettingsError(f"{where} says a second quorum")
        if words[0] not in {NO_QUORUM, *self.witnesses, *self.groups}:
            raise SettingsError(f"{where} names a witness or group that no line before it defines")
        self.quorum = words[0]

    def _refuse_known(self, name: str, where: str) -> None:
        if name in {NO_QUORUM, *self.witnesses, *self.groups}:
            raise SettingsError(f"{where} gives a name a second time")


def _refuse_twice(values: Iterable[bytes], what: str) -> None:
    values = list(values)
    if len(values) != len(set(values)):
        raise SettingsError(f"the policy names {what} twice")


def _check_epochs(epochs: list[Epoch]) -> None:
    """Check that the keys of one log follow each other."""
    if epochs[0].first != 0:
        raise SettingsError("the policy's first key of a log must sign from size 0")
    if any(one.end is not None and one.end <= one.first + 1 for one in epochs):
        raise SettingsError("the policy has a key that signs nothing of its own")
    for before, after in pairwise(epochs):
        if before.end is None or after.first != before.end - 1:
            raise SettingsError(
                "the policy's keys of a log must follow each other, each beginning at the last"
                " size of the one before"
            )


def _check_groups(witnesses: Mapping[str, WitnessKey], groups: Mapping[str, Group]) -> None:
    free = set(witnesses)
    for name, group in groups.items():
        members = set(group.members)
        if not 1 <= group.threshold <= len(group.members):
            raise SettingsError("a group of the policy asks for more members than it has")
        # A witness that counts in two places would be two witnesses.
        if len(members) != len(group.members) or not members <= free:
            raise SettingsError("a group of the policy has a member that another has, or none has")
        free = (free - members) | {name}
