"""Compare single values: numbers, base64, references."""

from __future__ import annotations

import base64
import binascii
from decimal import Decimal
from typing import Any

from fhir_bridge.compare.narrative import same_but_blanks, same_text_and_markup
from fhir_bridge.lossless import number_text
from fhir_bridge.records import Json

_URL_SAFE = str.maketrans("-_", "+/")
_SIGNATURE = frozenset({"who", "when", "sigFormat"})
_ATTACHMENT = frozenset({"contentType", "url", "data", "size", "title"})


def same(sent: Any, read: Any) -> bool:
    """Tell whether two single values are written alike; true is not 1 and 5.10 not 5.1."""
    return type(sent) is type(read) and bool(sent == read)


def how_it_differs(sent: Any, read: Any, name: str, holder: Json, base: str) -> str:
    """
    Name the way in which two single values differ.

    Args:
        sent: The value as sent.
        read: The value as read; not written like the other one.
        name: Name of the element.
        holder: The element that holds the value sent.
        base: Base of the server that it was read from; empty when not known.

    Returns:
        An id of ``mappings/normalisations.json``; empty when none fits.
    """
    if not isinstance(sent, str):
        return _numbers(sent, read)
    if not isinstance(read, str):
        return "quoted" if sent == _written(read) else ""
    if name == "div":
        return _narrative(sent, read)
    if name == "reference":
        return _reference(sent, read, base)
    if _is_base64(name, holder):
        bytes_sent = _decoded(sent)
        return "base64-form" if bytes_sent is not None and bytes_sent == _decoded(read) else ""
    return ""


def _written(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return number_text(value)


def _numbers(sent: Any, read: Any) -> str:
    text_sent, text_read = number_text(sent), number_text(read)
    if text_sent is None or text_read is None:
        return ""
    number_sent, number_read = Decimal(text_sent), Decimal(text_read)
    if number_sent.as_tuple() == number_read.as_tuple():
        return "number-form"
    if number_sent != number_read:
        return ""
    return "precision" if number_sent.is_signed() == number_read.is_signed() else "negative-zero"


def _narrative(sent: str, read: str) -> str:
    if same_text_and_markup(sent, read):
        return "narrative-form"
    return "narrative-blanks" if same_but_blanks(sent, read) else ""


def _reference(sent: str, read: str, base: str) -> str:
    if base and sent == f"{base}/{read}":
        return "own-base"
    return "reference-version" if sent.partition("/_history/")[0] == read else ""


def _is_base64(name: str, holder: Json) -> bool:
    """SampledData.data has the same name as base64 elements and is text."""
    if name == "valueBase64Binary":
        return True
    if name == "hash":
        return bool(_ATTACHMENT & holder.keys())
    if name != "data":
        return False
    return "contentType" in holder or bool(_SIGNATURE & holder.keys())


def _decoded(text: str) -> bytes | None:
    bare = "".join(text.split()).translate(_URL_SAFE).rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (ValueError, binascii.Error):
        return None
