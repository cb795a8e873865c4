"""How the engine's tables hold what they hold: JSON, sealed, never pickle."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Protocol

from fhir_bridge.errors import Tampered

NAME = "fhir-bridge-sealed-json-1"
_PURPOSE = "engine"


class Sealer(Protocol):
    """Seals and opens; `Seal` of the store."""

    def close(self, purpose: str, content: bytes) -> bytes:
        """Seal content for a purpose."""

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """Return what was sealed."""


class BrokenTurn(Exception):
    """A turn that ended with an error inside the engine: its kind is kept, its text is not."""


class SealedJson:
    """
    Writes what the engine keeps, under the newest key; what an older one sealed still opens.

    An error is kept as the name of its class: its text could repeat a value.
    """

    def __init__(self, current: str, keys: Mapping[str, Sealer]) -> None:
        """
        Take the keys.

        Args:
            current: Name of the one that seals.
            keys: By name; the name stands before what was sealed.
        """
        self._current = current
        self._keys = keys

    def serialize(self, data: Any) -> str:
        """Return what is kept of a value."""
        text = json.dumps(data, separators=(",", ":"), default=_error)
        sealed = self._keys[self._current].close(_PURPOSE, text.encode())
        return f"{self._current}.{base64.b64encode(sealed).decode()}"

    def deserialize(self, serialized_data: str) -> Any:
        """
        Return the value that was kept.

        Raises:
            Tampered: It was altered, or sealed under a key that is not here.
        """
        name, _, text = serialized_data.partition(".")
        try:
            sealed = base64.b64decode(text, validate=True)
            opened = self._keys[name].open(_PURPOSE, sealed)
        except (ValueError, KeyError) as error:
            raise Tampered("a row of the engine was altered, or its key is not here") from error
        return json.loads(opened, object_hook=_revived)

    def name(self) -> str:
        """Return the name that stands beside each value."""
        return NAME


def _error(value: object) -> dict[str, str]:
    if isinstance(value, BaseException):
        return {"error": type(value).__name__}
    raise TypeError(f"the engine keeps JSON only, not {type(value).__name__}")


def _revived(value: dict[str, Any]) -> Any:
    return BrokenTurn(value["error"]) if value.keys() == {"error"} else value
