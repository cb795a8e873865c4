"""Find where two versions of a resource differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fhir_bridge import lossless
from fhir_bridge.compare.values import how_it_differs, same
from fhir_bridge.records import Json

_SERVER_META = ("versionId", "lastUpdated", "source")
_SETS = ("meta.security", "meta.tag", "meta.profile")


class Verdict(StrEnum):
    """What a comparison says."""

    IDENTICAL = "identical"
    NORMALISED = "normalised"
    """Written differently in ways that this server is known for and that lose nothing."""
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a resource that was read differs from the one that was sent."""

    verdict: Verdict
    paths: tuple[str, ...] = ()
    """Elements that differ, sorted; when something changed, only those that changed."""
    notes: tuple[str, ...] = ()
    """Ids of ``mappings/normalisations.json`` for the ways of differing that were seen."""


def differences(
    sent: Json, read: Json, normalisations: Sequence[str], *, base: str = ""
) -> Comparison:
    """
    Compare a resource with what a server gives back for it.

    Args:
        sent: As it was sent.
        read: As it was read. meta.versionId, lastUpdated and source are the
            server's own and are not looked at.
        normalisations: What this server is known to write differently without
            loss (`known_normalisations`).
        base: The server's base: an absolute reference below it means the same
            as a relative one.

    Source:
        Our own rule, from what was measured on real servers.
    """
    bare_sent, bare_read = _bare(sent), _bare(read)
    if lossless.canonical(bare_sent) == lossless.canonical(bare_read):
        return Comparison(Verdict.IDENTICAL)
    work = _Comparing(frozenset(normalisations), base)
    work.members(bare_sent, bare_read, "")
    verdict = Verdict.NORMALISED if not work.changed else Verdict.CHANGED
    paths = work.changed or work.normalised
    return Comparison(verdict, tuple(sorted(paths)), tuple(sorted(work.notes)))


def _bare(content: Json) -> Json:
    meta = content.get("meta", {})
    if not isinstance(meta, dict):
        return content
    return {**content, "meta": {k: meta[k] for k in meta if k not in _SERVER_META}}


class _Comparing:
    def __init__(self, allowed: frozenset[str], base: str) -> None:
        self.allowed = allowed
        self.base = base
        self.changed: set[str] = set()
        self.normalised: set[str] = set()
        self.notes: set[str] = set()

    def members(self, sent: Json, read: Json, path: str) -> None:
        for name in {**sent, **read}:
            here = f"{path}.{name}" if path else name
            if name not in read:
                self._differs(here, _how_it_went(name, sent[name], here))
            elif name not in sent:
                self._differs(here, _how_it_came(here))
            else:
                self._value(sent[name], read[name], here, sent)

    def _value(self, sent: Any, read: Any, path: str, holder: Json) -> None:
        if isinstance(sent, dict) and isinstance(read, dict):
            self.members(sent, read, path)
        elif isinstance(sent, list) and isinstance(read, list):
            self._list(sent, read, path, holder)
        elif isinstance(sent, list) != isinstance(read, list):
            self._wrapped(sent, read, path, holder)
        elif not same(sent, read):
            name = path.rpartition(".")[2].partition("[")[0]
            self._differs(path, how_it_differs(sent, read, name, holder, self.base))

    def _list(self, sent: list[Any], read: list[Any], path: str, holder: Json) -> None:
        if path.endswith(_SETS):
            self._set(sent, read, path)
            return
        if len(sent) != len(read):
            sent = [one for one in sent if not _is_empty(one)]
            self._differs(path, "empty-removed" if len(sent) == len(read) else "")
        for index, (one, other) in enumerate(zip(sent, read, strict=False)):
            self._value(one, other, f"{path}[{index}]", holder)

    def _set(self, sent: list[Any], read: list[Any], path: str) -> None:
        """Labels, tags and profiles have no order, and one stands for all of its kind."""
        there, here = _by_text(read), _by_text(sent)
        extra = [one for text, one in there.items() if text not in here]
        missing = [one for text, one in here.items() if text not in there]
        if not extra and not missing:
            if sent != read:
                self._differs(path, "meta-sets")
        elif not missing:
            self._differs(path, "labels-kept")
        else:
            self._differs(path, "label-reworded" if _all_named(missing, extra) else "")

    def _wrapped(self, sent: Any, read: Any, path: str, holder: Json) -> None:
        one = sent if isinstance(sent, list) else read
        if len(one) != 1:
            self._differs(path, "empty-removed" if _is_empty(sent) and _is_empty(read) else "")
            return
        self._differs(path, "single-wrapped")
        self._value(_unwrapped(sent), _unwrapped(read), path, holder)

    def _differs(self, path: str, how: str) -> None:
        (self.normalised if how in self.allowed else self.changed).add(path)
        if how:
            self.notes.add(how)


def _unwrapped(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


def _how_it_came(path: str) -> str:
    if path.endswith(_SETS):
        return "labels-kept"
    return "contained-id" if _is_contained_id(path) else ""


def _how_it_went(name: str, sent: Any, path: str) -> str:
    if _is_empty(sent):
        return "empty-removed"
    if path.startswith("contained") and _is_server_meta(path, sent):
        return "contained-meta"
    if name.startswith("_") and _only_ids(sent):
        return "ids-only"
    return "empty-div" if name == "div" else ""


def _is_server_meta(path: str, sent: Any) -> bool:
    last = path.rpartition(".")[2]
    if last == "meta" and isinstance(sent, dict):
        return sent.keys() <= set(_SERVER_META)
    return last in _SERVER_META and path.partition(".")[2].startswith("meta.")


def _is_contained_id(path: str) -> bool:
    return path.startswith("contained") and path.count(".") == 1 and path.endswith(".id")


def _only_ids(value: Any) -> bool:
    rows = value if isinstance(value, list) else [value]
    return all(row is None or (isinstance(row, dict) and set(row) == {"id"}) for row in rows)


def _is_empty(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_empty(one) for one in value.values())
    if isinstance(value, list):
        return all(_is_empty(one) for one in value)
    return value is None or (isinstance(value, str) and not value.strip())


def _by_text(items: Iterable[Any]) -> dict[bytes, Any]:
    return {lossless.canonical(one): one for one in items}


def _all_named(missing: Iterable[Any], extra: Iterable[Any]) -> bool:
    """Tell whether each label that is missing came back with other words."""
    codes = [one.get("code") for one in extra if isinstance(one, dict)]
    return all(isinstance(one, dict) and one.get("code") in codes for one in missing)
