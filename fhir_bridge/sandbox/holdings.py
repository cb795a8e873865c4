"""What the sandbox holds: every version of every resource, and the index to find them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC

from fhir_bridge import lossless
from fhir_bridge.clock import Clock
from fhir_bridge.records import Json, RecordRef
from fhir_bridge.sandbox import links
from fhir_bridge.sandbox.parameters import Key, keys, local


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a resource."""

    number: int
    raw: bytes | None
    """None: this version says that the resource was deleted."""
    last_updated: str
    fingerprint: bytes
    """Equal for equal contents, whatever the version and the order of members."""

    @property
    def etag(self) -> str:
        """Return the version as an HTTP header has it."""
        return f'W/"{self.number}"'


@dataclass(slots=True)
class Held:
    """A resource with its history, oldest first."""

    type: str
    id: str
    versions: list[Version]
    keys: list[Key]
    links: list[str]
    """``Type/id`` of everything that it refers to, here or not."""

    @property
    def current(self) -> Version:
        """Return the newest version."""
        return self.versions[-1]


class Holdings(Mapping[RecordRef, Json]):
    """
    The current resources of one sandbox, by reference.

    Reading a member parses it anew, so that a test may change what it gets.
    """

    def __init__(self, base: str, clock: Clock) -> None:
        """Start empty."""
        self._base = base
        self._clock = clock
        self._held: dict[str, dict[str, Held]] = {}
        self._index: dict[tuple[str, str], dict[str, dict[str, None]]] = {}

    def __getitem__(self, ref: RecordRef) -> Json:
        """Return the content of the current version."""
        version = self.current(ref)
        if version is None or version.raw is None:
            raise KeyError(ref)
        content: Json = lossless.decode_own(version.raw)
        return content

    def __iter__(self) -> Iterator[RecordRef]:
        """Go through the references of what is not deleted."""
        for type_, held in self._held.items():
            for id_, one in held.items():
                if one.current.raw is not None:
                    yield RecordRef(f"{type_}/{id_}")

    def __len__(self) -> int:
        """Count what is not deleted."""
        return sum(1 for _ in self)

    def held(self, ref: str) -> Held | None:
        """Return a resource with its history, deleted or not."""
        type_, _, id_ = ref.partition("/")
        return self._held.get(type_, {}).get(id_)

    def current(self, ref: str) -> Version | None:
        """Return the newest version, which may be a deletion; None when never stored."""
        held = self.held(ref)
        return held.current if held else None

    def exists(self, ref: str) -> bool:
        """Say whether a resource is here and not deleted."""
        version = self.current(ref)
        return version is not None and version.raw is not None

    def of_type(self, type_: str) -> Mapping[str, Held]:
        """Return all resources of a type by id, in the order they came."""
        return self._held.get(type_, {})

    def found(self, type_: str, parameter: str, value: str) -> Iterable[str]:
        """Return the ids of the resources that have a key."""
        return self._index.get((type_, parameter), {}).get(value, ())

    def words(self, type_: str, parameter: str) -> Mapping[str, Iterable[str]]:
        """Return every value of a parameter with the ids that have it."""
        return self._index.get((type_, parameter), {})

    def put(self, ref: str, content: Json) -> tuple[Version, bool]:
        """
        Store a version.

        Args:
            ref: Where.
            content: The resource. Its id, meta.versionId and meta.lastUpdated
                are replaced.

        Returns:
            The current version, and whether it is new: identical content
            makes no version.
        """
        type_, _, id_ = ref.partition("/")
        fingerprint = _fingerprint(content, id_)
        held = self.held(ref)
        if held and held.current.fingerprint == fingerprint:
            return held.current, False
        now = self._now()
        number = held.current.number + 1 if held else 1
        raw = lossless.encode(_stamped(content, id_, number, now))
        version = Version(number, raw, now, fingerprint)
        if held is None:
            held = Held(type_, id_, [], [], [])
            self._held.setdefault(type_, {})[id_] = held
        held.versions.append(version)
        self._reindex(held, keys(content, self._base))
        written = (local(reference, self._base) for _, reference in links.checked(content))
        held.links = [there for there in written if there]
        return version, True

    def delete(self, ref: str) -> Version | None:
        """Note that a resource is gone; None when it was never here."""
        held = self.held(ref)
        if held is None:
            return None
        if held.current.raw is not None:
            held.versions.append(Version(held.current.number + 1, None, self._now(), b""))
            self._reindex(held, [])
        return held.current

    def _reindex(self, held: Held, new: list[Key]) -> None:
        for name, value in held.keys:
            self._index[held.type, name][value].pop(held.id, None)
        held.keys = list(dict.fromkeys(new))
        for name, value in held.keys:
            by_value = self._index.setdefault((held.type, name), {})
            by_value.setdefault(value, {})[held.id] = None

    def _now(self) -> str:
        now = self._clock.now().astimezone(UTC)
        return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fingerprint(content: Json, id_: str) -> bytes:
    meta = dict(content.get("meta") or {})
    meta.pop("versionId", None)
    meta.pop("lastUpdated", None)
    bare = {**content, "id": id_, "meta": meta}
    return hashlib.blake2b(lossless.canonical(bare), digest_size=16).digest()


def _stamped(content: Json, id_: str, number: int, now: str) -> Json:
    """Return the content with what only the server knows, in the usual order of members."""
    meta = {**(content.get("meta") or {}), "versionId": str(number), "lastUpdated": now}
    head = {"resourceType": content["resourceType"], "id": id_, "meta": meta}
    return head | {name: value for name, value in content.items() if name not in head}
