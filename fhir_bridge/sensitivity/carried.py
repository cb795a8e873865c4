"""
The labels that the source itself wrote into a record.

A label that is not understood is never passed over: the record is then held
for a person.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from fhir_bridge.codes import mapping
from fhir_bridge.sensitivity.labels import highest
from fhir_bridge.sensitivity.systems import Systems

TEST_DATA = "HTEST"


class Carried:
    """What was found of carried labels, while a record is read."""

    __slots__ = ("confidentiality", "policies", "purposes", "sensitivities", "unknown")

    def __init__(self) -> None:
        """Start with no labels."""
        self.confidentiality: str | None = None
        self.sensitivities: set[str] = set()
        self.policies: set[str] = set()
        self.purposes: set[str] = set()
        self.unknown = False

    def merge(self, other: Carried) -> None:
        """Add what was found elsewhere in the same record."""
        self.confidentiality = highest(self.confidentiality, other.confidentiality)
        self.sensitivities |= other.sensitivities
        self.policies |= other.policies
        self.purposes |= other.purposes
        self.unknown |= other.unknown

    @property
    def silent(self) -> bool:
        """Tell whether nothing was found that could restrict the record."""
        return not (
            self.unknown
            or self.sensitivities
            or self.policies
            or self.purposes
            or self.confidentiality
        )


class LabelCodes:
    """The security labels that the bridge understands."""

    def __init__(self, systems: Systems) -> None:
        """Read `mappings/sensitivity/labels.json`."""
        known = mapping("sensitivity/labels.json")
        self._systems = systems
        self._groups = {systems.name(name): group for name, group in known["systems"].items()}
        self._confidentiality = frozenset(known["confidentiality"])
        self._swiss: dict[str, str] = known["swiss"]
        self._sensitivities = frozenset(known["sensitivities"])
        self._policies = frozenset(known["policies"])
        self._obligations = frozenset(known["obligations"])
        self._purposes = frozenset(known["purposes"])
        self._handling = frozenset(known["handling"])
        self.inline: frozenset[str] = frozenset(known["inline_extension"])

    def add(self, coding: Any, found: Carried) -> bool:
        """
        Read one label coding into what was found.

        Returns:
            False when the label is not understood; the caller decides whether
            another coding of the same concept explains it.
        """
        system, code = _pair(coding)
        group = self._groups.get(self._systems.name(system))
        if group == "act":
            return self._act(code, found)
        if group == "purpose":
            return self._purpose(code, found)
        if group == "handling":
            return code in self._handling
        level = {"confidentiality": code, "swiss": self._swiss.get(code)}.get(group or "")
        return self._level(level, found)

    def is_test_data(self, coding: Any) -> bool:
        """Tell whether a label says that the record is invented."""
        system, code = _pair(coding)
        return code == TEST_DATA and self._groups.get(self._systems.name(system)) == "purpose"

    def _act(self, code: str, found: Carried) -> bool:
        if code in self._sensitivities:
            found.sensitivities.add(code)
        elif code in self._policies:
            found.policies.add(code)
        else:
            return code in self._obligations
        return True

    def _level(self, code: str | None, found: Carried) -> bool:
        if code not in self._confidentiality:
            return False
        found.confidentiality = highest(found.confidentiality, code)
        return True

    def _purpose(self, code: str, found: Carried) -> bool:
        if code in self._purposes:
            found.purposes.add(code)
            return True
        return code == TEST_DATA  # says that the record is invented, not what it is for


def _pair(coding: Any) -> tuple[str, str]:
    """Return system and code; two empty strings, which nobody understands, for anything else."""
    if not isinstance(coding, dict):
        return "", ""
    system, code = coding.get("system"), coding.get("code")
    if isinstance(system, str) and isinstance(code, str):
        return system, code.strip()
    return "", ""


@cache
def _shipped_codes() -> LabelCodes:
    return LabelCodes(Systems(mapping("sensitivity/systems.json")["aliases"]))


def is_test_data(content: Any) -> bool:
    """
    Tell whether a resource is labelled as invented.

    Args:
        content: A resource as a server sent it. Untrusted.

    Returns:
        True only for the label HTEST of v3-ActReason in meta.security: it lifts
        protection, so a tag or a look-alike does not count.
    """
    meta = content.get("meta") if isinstance(content, dict) else None
    security = meta.get("security") if isinstance(meta, dict) else None
    if not isinstance(security, list):
        return False
    return any(_shipped_codes().is_test_data(coding) for coding in security)


def sensitivity_codes() -> frozenset[str]:
    """Return the codes of v3-ActCode that say what a record is sensitive for."""
    return frozenset(mapping("sensitivity/labels.json")["sensitivities"])
