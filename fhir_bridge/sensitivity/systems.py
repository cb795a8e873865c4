"""One name for each code system, however a server spells it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_OID = re.compile(r"[0-2](?:\.\d+)+\Z")
_SNOMED = "http://snomed.info/sct"
_REMEMBERED = 1_000


class Systems:
    """The spellings of code systems that are known to mean the same."""

    def __init__(self, aliases: Mapping[str, Sequence[str]]) -> None:
        """Keep the spellings, by the name that the tables use."""
        self._names = {
            spelling: name for name, spellings in aliases.items() for spelling in spellings
        }
        self._seen: dict[str, str] = {}

    def name(self, system: str) -> str:
        """
        Return the one name of a code system.

        Args:
            system: As a record wrote it: URL, ``urn:oid:`` or bare OID, perhaps
                with a version, a trailing slash, blanks or other capitals.

        Returns:
            Lower case. A system nobody knows keeps its own spelling.
        """
        known = self._seen.get(system)
        if known is None:
            if len(self._seen) >= _REMEMBERED:  # a record may invent systems without end
                self._seen.clear()
            known = self._seen[system] = self._look_up(system)
        return known

    def _look_up(self, system: str) -> str:
        plain = system.partition("|")[0].strip().lower().rstrip("/")
        if _OID.match(plain):
            plain = "urn:oid:" + plain
        plain = self._names.get(plain, plain)
        # an edition: http://snomed.info/sct/900000000000207008/version/20230131
        return _SNOMED if plain.startswith(_SNOMED + "/") else plain
