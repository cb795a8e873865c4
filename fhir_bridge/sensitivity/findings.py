"""What was found in one resource by itself, before labels rise."""

from __future__ import annotations

import re

from fhir_bridge.sensitivity.carried import Carried
from fhir_bridge.sensitivity.tables import Standing

_ELEMENT = re.compile(r"_?[a-z][A-Za-z0-9]{0,39}\Z")
"""A name of FHIR's own form; another name might itself be a text about somebody."""


class Findings:
    """Collected while a resource, or one element of it, is read."""

    __slots__ = ("blocks", "carried", "labels", "members", "parts", "silent", "standing", "voices")

    def __init__(self) -> None:
        """Start with nothing found."""
        self.labels: dict[str, str] = {}
        """Computed label to the coding that earned it."""
        self.blocks: list[str] = []
        """Why no N is computed, as ``element: reason``."""
        self.carried = Carried()
        self.members: list[str] = []
        """References to what this record contains or shows."""
        self.parts: list[str] = []
        """Those of `members` for which this record speaks."""
        self.voices: list[str] = []
        """References to who or where it comes from."""
        self.standing: Standing | None = None
        """The least proving of the concepts read; None when there was none."""
        self.silent = False
        """Set when reading is over and merging would change nothing."""

    def see(self, standing: Standing) -> None:
        """Take note of one concept."""
        if self.standing is None or standing > self.standing:
            self.standing = standing

    def block(self, element: str, reason: str) -> None:
        """Take note of why the record cannot be called ordinary."""
        if not _ELEMENT.match(element):
            element = "an element that FHIR does not have"
        self.blocks.append(f"{element}: {reason}")

    def merge(self, other: Findings) -> None:
        """Add what was found in an element of the same resource; its standing stays its own."""
        for label, reason in other.labels.items():
            self.labels.setdefault(label, reason)
        self.blocks += other.blocks
        self.members += other.members
        self.parts += other.parts
        self.voices += other.voices
        self.carried.merge(other.carried)

    def close(self) -> Findings:
        """Note that reading is over, so that merging nothing costs nothing."""
        lists = (self.labels, self.blocks, self.members, self.parts, self.voices)
        self.silent = self.carried.silent and not any(lists)
        return self
