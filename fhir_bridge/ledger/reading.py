"""
Reading many entries at once, no less strictly than one by one.

Most of what `decode_entry` takes goes into matching each member's pattern for
each entry. Here entries are read with the patterns left out, and the patterns
are matched by column, each different value once. Both the entry's shape and
the patterns are taken from `Entry`, so the two cannot part.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import reduce
from itertools import chain
from operator import or_
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

from fhir_bridge.errors import AlteredLog
from fhir_bridge.ledger.entry import LEAF_BYTES_MAX, Entry, decode_entry

_FEW = 8
"""So many values are matched one by one, and may hold newlines."""


class AlteredEntry(AlteredLog):
    """One of several entries cannot be read."""

    def __init__(self, position: int, message: str) -> None:
        """Keep which one: 0 for the first that was given."""
        super().__init__(message)
        self.position = position


def read_entries(leaves: Sequence[bytes]) -> Sequence[Entry]:
    """
    Read entries.

    Args:
        leaves: Untrusted.

    Returns:
        What `decode_entry` would give for each: objects with the members of
        `Entry`, though not always of that class.

    Raises:
        AlteredEntry: `decode_entry` refuses one of them; names the first.
    """
    rows = _read_together(leaves)
    return [_read(position, leaf) for position, leaf in enumerate(leaves)] if rows is None else rows


def _read(position: int, leaf: bytes) -> Entry:
    try:
        return decode_entry(leaf)
    except AlteredLog as error:
        raise AlteredEntry(position, str(error)) from error


def _read_together(leaves: Sequence[bytes]) -> list[Any] | None:
    """Read entries by columns; None when any of them is not surely right."""
    # No newline can stand in JSON as it is written here: not within a string,
    # and not between members. So the lines that are written back are the
    # leaves, one each, or they are other bytes.
    lines = b"\n".join([*leaves, b""])
    try:
        rows = _decoder.decode_lines(lines)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if len(rows) != len(leaves) or _encoder.encode_lines(rows) != lines:
        return None
    if max(map(len, leaves), default=0) > LEAF_BYTES_MAX:
        return None
    return rows if _are_right(rows) else None


def _are_right(rows: Sequence[Any]) -> bool:
    columns = dict(zip(_Row.__struct_fields__, zip(*map(_values, rows), strict=True), strict=False))
    if not columns:
        return True
    placed = zip(columns["transfer"], columns["seq"], strict=True)
    return (
        all((transfer is None) == (seq is None) for transfer, seq in placed)
        and all(check(columns[name]) for name, check in _CHECKS.items())
        and _exist(set(columns["t"]))
    )


def _exist(times: Iterable[str]) -> bool:
    try:
        for t in times:
            datetime.fromisoformat(t)
    except ValueError:
        return False
    return True


_Check = Callable[[Iterable[Any]], bool]

_values = msgspec.structs.astuple


def _matching(pattern: str) -> _Check:
    """
    Check a column of strings; None is a member that is absent.

    Args:
        pattern: Anchored at both ends.
    """
    inner = pattern.removeprefix(r"\A").removesuffix(r"\Z")
    one, many = re.compile(rf"(?:{inner})\Z"), re.compile(rf"(?:(?:{inner})\n)*\Z")

    def check(column: Iterable[Any]) -> bool:
        values = set(column)
        values.discard(None)
        if len(values) <= _FEW:
            return all(map(one.match, values))
        lines = "\n".join([*values, ""])
        # A value that holds a newline could pass for two.
        return lines.count("\n") == len(values) and many.match(lines) is not None

    return check


def _nested(
    names: Sequence[str],
    checks: dict[str, _Check],
    flat: Callable[[Iterable[Any]], Iterable[Any]],
) -> _Check:
    """Check a column of objects, each member as a column of its own."""

    def check(column: Iterable[Any]) -> bool:
        columns = zip(*map(_values, flat(column)), strict=True)
        return all(
            checks[name](members)
            for name, members in zip(names, columns, strict=False)
            if name in checks
        )

    return check


def _present(column: Iterable[Any]) -> list[Any]:
    return [one for one in column if one is not None]


def _loosened(annotation: Any) -> tuple[Any, _Check | None]:
    """Return a type without its patterns, and the check that stands for them."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        loose, checks = _loose(annotation)
        return loose, _nested(loose.__struct_fields__, checks, _present)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated and args[0] is str:
        return str, _matching(args[1].pattern)
    if origin is Annotated and get_origin(args[0]) is tuple:
        loose, checks = _loose(get_args(args[0])[0])
        row = _nested(loose.__struct_fields__, checks, chain.from_iterable)
        return Annotated[tuple[loose, ...], args[1]], row  # type: ignore[valid-type]
    if origin in {Union, types.UnionType}:
        parts = [_loosened(part) for part in args]
        checks_of = [check for _, check in parts if check is not None]
        return reduce(or_, [part for part, _ in parts]), checks_of[0] if checks_of else None
    return annotation, None


def _loose(strict: type[msgspec.Struct]) -> tuple[type[msgspec.Struct], dict[str, _Check]]:
    """Return a class like another, its members in written order, and its checks."""
    hints = get_type_hints(strict, include_extras=True)
    fields, checks = [], {}
    for field in sorted(msgspec.structs.fields(strict), key=lambda field: field.encode_name):
        loose, check = _loosened(hints[field.name])
        spec = msgspec.field(name=field.encode_name)
        if not field.required:
            spec = msgspec.field(name=field.encode_name, default=field.default)
        fields.append((field.name, loose, spec))
        if check is not None:
            checks[field.name] = check
    config = strict.__struct_config__
    return msgspec.defstruct(
        strict.__name__,
        fields,
        kw_only=True,
        forbid_unknown_fields=config.forbid_unknown_fields,
        omit_defaults=config.omit_defaults,
        gc=False,
    ), checks


_Row, _CHECKS = _loose(Entry)
_decoder = msgspec.json.Decoder(_Row)
_encoder = msgspec.json.Encoder()
