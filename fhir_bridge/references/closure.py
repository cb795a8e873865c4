"""
Which references belong to a record, and which lead to the rest of the chart.

`mappings/closure.json` says it element by element. What is not named there is
severed: a new element never widens a disclosure by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from fhir_bridge.codes import mapping


class Follow(StrEnum):
    """Whether what a reference points to is gathered."""

    FOLLOW = "follow"
    SEVER = "sever"


@dataclass(frozen=True, slots=True)
class ClosurePolicy:
    """What is gathered along references."""

    follow: Mapping[str, frozenset[str]]
    """Element to the target types that are followed from it."""
    supporting_types: tuple[str, ...]
    """Types that may be asked for with the records, because only records lead to them."""

    @classmethod
    def load(cls) -> Self:
        """Read `mappings/closure.json`."""
        data = mapping("closure.json")
        return cls(
            follow={
                element: frozenset(types)
                for elements in data["follow"].values()
                for element, types in elements.items()
            },
            supporting_types=tuple(data["supporting_types"]),
        )

    def decision(self, element: str, target_type: str) -> Follow:
        """
        Decide about one reference.

        Args:
            element: As `walk` names it, e.g. ``DiagnosticReport.result``.
            target_type: Type of what it points to. Never ``Patient``'s record:
                a patient is matched, not gathered.
        """
        types = self.follow.get(element, frozenset())
        return Follow.FOLLOW if target_type in types else Follow.SEVER
