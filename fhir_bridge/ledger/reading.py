"""
Reading many entries at once, no less strictly than one by one, and faster.

An entry has one written form, so what it must look like can be said in one
pattern over its bytes. The pattern is made from `Entry` itself, and it is only
a short cut: it knows no escapes and no characters beyond ASCII, and what it
does not know is left to `decode_entry`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from msgspec import inspect

from fhir_bridge.errors import AlteredLog
from fhir_bridge.ledger.entry import SHOWN, UUID, VISIBLE, Entry, decode_entry

_HOUR = len("2026-01-01T00")
"""Characters of a time that may name what does not exist; the pattern knows the rest."""


class AlteredEntry(AlteredLog):
    """One of several entries cannot be read."""

    def __init__(self, position: int, message: str) -> None:
        """Keep which one: 0 for the first that was given."""
        super().__init__(message)
        self.position = position


class Columns(NamedTuple):
    """
    Some members of several entries, each member as a column.

    Text is bytes, as written between the quotes; what is absent is empty.
    """

    digest: Sequence[bytes]
    """Of the body: base64 without its padding."""
    checkpoint: Sequence[bytes]
    """A dot where there is one."""
    entries: Sequence[int | None]
    idx: Sequence[int]
    log: Sequence[bytes]
    seq: Sequence[int | None]
    t: Sequence[bytes]
    transfer: Sequence[bytes]
    """The UUID alone."""
    type: Sequence[bytes]
    vkey: Sequence[bytes]


def read_columns(leaves: Sequence[bytes]) -> Columns:
    """
    Read entries.

    Args:
        leaves: Untrusted. At least one.

    Raises:
        AlteredEntry: `decode_entry` refuses one of them; names the first.
    """
    lines = b"\n".join(leaves)
    rows = _find(lines)
    # Each line is one entry and each entry one line, or some are not as the pattern knows them.
    if not len(rows) == len(leaves) == lines.count(b"\n") + 1:
        rows = [_row(position, leaf) for position, leaf in enumerate(leaves)]
    told = _transposed(rows)
    if not _fit(told):
        told = _transposed([_read(position, leaf) for position, leaf in enumerate(leaves)])
    return Columns(
        digest=told["body.digest"],
        checkpoint=told["checkpoint"],
        entries=_numbers(told["entries"]),
        idx=list(map(int, told["idx"])),
        log=told["log"],
        seq=_numbers(told["seq"]),
        t=told["t"],
        transfer=told["transfer"],
        type=told["type"],
        vkey=told["vkey"],
    )


_Row = tuple[bytes, ...]
_Column = Sequence[bytes]


def _transposed(rows: Sequence[_Row]) -> dict[str, _Column]:
    return dict(zip(_GROUPS, zip(*rows, strict=True), strict=True))


def _numbers(column: _Column) -> list[int | None]:
    """Read a column of numbers, of which most or none may be absent."""
    return [int(one) if one else None for one in column]


def _row(position: int, leaf: bytes) -> _Row:
    """Read an entry by itself."""
    rows = _find(leaf)
    return _read(position, leaf) if len(rows) != 1 or b"\n" in leaf else rows[0]


def _read(position: int, leaf: bytes) -> _Row:
    """Read an entry that the pattern does not know, into what the pattern would give."""
    try:
        entry = decode_entry(leaf)
    except AlteredLog as error:
        raise AlteredEntry(position, str(error)) from error
    told: dict[str, str | int | None] = {
        "body.digest": entry.body.digest.rstrip("=") if entry.body else None,
        "checkpoint": None if entry.checkpoint is None else ".",
        "entries": entry.entries,
        "idx": entry.idx,
        "log": entry.log,
        "seq": entry.seq,
        "t": entry.t,
        "transfer": entry.transfer and entry.transfer.removeprefix("urn:uuid:"),
        "type": entry.type,
        "vkey": entry.vkey,
    }
    values = map(told.get, _GROUPS)
    return tuple(b"" if value is None else str(value).encode() for value in values)


def _fit(told: Mapping[str, _Column]) -> bool:
    """Check what the pattern leaves open: alphabets, hours, and that numbers are of transfers."""
    try:
        for hour in {t[:_HOUR] for t in told["t"]}:
            datetime.fromisoformat(hour.decode())
    except ValueError:
        return False
    if list(map(bool, told["seq"])) != list(map(bool, told["transfer"])):
        return False
    if not all(map(_UUID_TEXT, {*told["transfer"]} - {b""})):
        return False
    return not any(
        b"".join({*told[name]}).translate(None, alphabet) for name, alphabet in _OPEN.items()
    )


# The pattern

_PLAIN = {VISIBLE: r"[!#-\[\]-~]", SHOWN: r"[ !#-\[\]-~]"}
"""Classes of characters, without those that JSON escapes or UTF-8 writes in several bytes."""

_HEX, _BASE64 = "[0-9a-f]", "[A-Za-z0-9+/]"
_ALPHABETS = {
    _HEX: b"0123456789abcdef",
    _BASE64: b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
}
_UUID_TEXT = re.compile(UUID.encode()).fullmatch
_LONG = re.compile(rf"({re.escape(_HEX)}|{re.escape(_BASE64)})\{{(32|43|64)\}}")
"""A long run over one alphabet: any characters in the pattern, and together afterwards."""

_TOLD = {"entries", "idx", "log", "seq", "t", "transfer", "type", "vkey"}


class _Pattern:
    """Says in a pattern how an entry is written."""

    def __init__(self) -> None:
        self.groups: list[str] = []
        """What each group of the pattern holds."""
        self.open: dict[str, bytes] = {}
        """Alphabets of groups whose characters the pattern does not look at."""

    def of(self, type_: Any, name: str, *, again: bool = False) -> str:
        """Return the pattern of a value; `again` where a group cannot hold each of several."""
        match type_:
            case inspect.UnionType():
                (type_,) = (one for one in type_.types if not isinstance(one, inspect.NoneType))
                return self.of(type_, name)
            case inspect.StructType():
                return self._object(type_, f"{name}.", again=again)
            case inspect.VarTupleType(max_length=most) if most is not None:
                first = self.of(type_.item_type, name)
                other = self.of(type_.item_type, name, again=True)
                return rf"\[{first}(?:,{other}){{0,{most - 1}}}+\]"
            case inspect.IntType():
                # Of 16 digits not all are below 2 ** 53; so large a number is left to the decoder.
                return self._given("(?!0[0-9])[0-9]{1,15}+", name)
            case inspect.StrType(pattern=str() as pattern):
                return f'"{self._text(pattern, name, again=again)}"'
            case _:
                return f'"{self._given(_choice(type_), name)}"'

    def top(self, type_: Any) -> str:
        """Return the pattern of a whole entry."""
        return self._object(type_, "", again=False)

    def _object(self, type_: inspect.StructType, within: str, *, again: bool) -> str:
        """Say how an object is written: its members in order, the first of them always there."""
        members = ""
        for field in sorted(type_.fields, key=lambda field: field.encode_name):
            name = within + field.encode_name
            if name == "checkpoint":
                # A signed note has several lines, which JSON escapes: it is left to the decoder.
                self.groups.append(name)
                members += "((?!))?"
                continue
            comma = "," if members else ""
            one = f'{comma}"{field.encode_name}":{self.of(field.type, name, again=again)}'
            members += one if field.required else f"(?>{one})?+"
        return rf"\{{{members}\}}"

    def _text(self, pattern: str, name: str, *, again: bool) -> str:
        inner = pattern.removeprefix(r"\A(?:").removesuffix(r")\Z").replace("(", "(?:")
        if UUID in pattern and not again:
            self.groups.append(name)
            return pattern.removeprefix(r"\A(?:").removesuffix(r")\Z").replace(UUID, "(.{36})")
        long = _LONG.search(inner)
        if long is not None and not again:
            self.groups.append(name)
            self.open[name] = _ALPHABETS[long[1]]
            run = f"(.{{{long[2]}}})"
            return inner[: long.start()] + run + inner[long.end() :]
        for known, plain in _PLAIN.items():
            inner = inner.replace(known, plain)
        return self._given(inner, name)

    def _given(self, pattern: str, name: str) -> str:
        if name not in _TOLD:
            return pattern
        self.groups.append(name)
        return f"({pattern})"


def _choice(type_: Any) -> str:
    """Say in a pattern which texts there are to choose from."""
    values = type_.values if isinstance(type_, inspect.LiteralType) else type_.cls
    # The longest first: none may be taken for the beginning of another.
    texts = sorted(map(str, values), key=len, reverse=True)
    return f"(?>{'|'.join(map(re.escape, texts))})"


_built = _Pattern()
_find: Callable[[bytes], list[_Row]] = re.compile(
    f"^{_built.top(inspect.type_info(Entry))}$".encode(), re.DOTALL | re.MULTILINE
).findall
_GROUPS, _OPEN = tuple(_built.groups), _built.open
