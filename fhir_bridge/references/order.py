"""The order in which records can be stored: what is referred to comes first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from fhir_bridge.records import RecordRef


def strongly_connected_order(
    edges: Mapping[RecordRef, Iterable[RecordRef]],
) -> list[list[RecordRef]]:
    """
    Order records so that none is stored before what it refers to.

    Args:
        edges: For each record, what it refers to. What is not a key itself is
            left out: it is stored already.

    Returns:
        Groups, referenced before referring. Records of one group refer to each
        other in a circle and can only be stored together. The same input gives
        the same order.

    Source:
        R. Tarjan, Depth-first search and linear graph algorithms, 1972; written
        without recursion, because a chain of results may be thousands long.
    """
    search = _Search(edges)
    for ref in edges:
        if ref not in search.low:
            search.visit(ref)
    return search.groups


class _Search:
    def __init__(self, edges: Mapping[RecordRef, Iterable[RecordRef]]) -> None:
        self.edges = edges
        self.groups: list[list[RecordRef]] = []
        self.low: dict[RecordRef, int] = {}
        self._number: dict[RecordRef, int] = {}
        self._open: dict[RecordRef, None] = {}
        self._way: list[tuple[RecordRef, Iterator[RecordRef]]] = []

    def visit(self, start: RecordRef) -> None:
        """Go down from one record until everything below it has its group."""
        self._enter(start)
        while self._way:
            ref, rest = self._way[-1]
            following = next(rest, None)
            if following is None:
                self._leave(ref)
            elif following in self._open:
                self.low[ref] = min(self.low[ref], self._number[following])
            elif following in self.edges and following not in self.low:
                self._enter(following)

    def _enter(self, ref: RecordRef) -> None:
        self._number[ref] = self.low[ref] = len(self.low)
        self._open[ref] = None
        self._way.append((ref, iter(self.edges[ref])))

    def _leave(self, ref: RecordRef) -> None:
        self._way.pop()
        if self._way:
            above = self._way[-1][0]
            self.low[above] = min(self.low[above], self.low[ref])
        if self.low[ref] == self._number[ref]:
            group: list[RecordRef] = []
            while not group or group[-1] != ref:
                group.append(self._open.popitem()[0])
            self.groups.append(group[::-1])
