"""Records are stored after what they refer to, and circles together."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_bridge.records import RecordRef
from fhir_bridge.references import strongly_connected_order

NODES = [RecordRef(f"X/{n}") for n in range(8)]


def edges(**to: str) -> dict[RecordRef, list[RecordRef]]:
    return {RecordRef(a): [RecordRef(b) for b in bs] for a, bs in to.items()}


def test_what_is_referred_to_comes_first() -> None:
    assert strongly_connected_order(edges(a="b", b="c", c="")) == [["c"], ["b"], ["a"]]


def test_a_circle_is_one_group() -> None:
    assert strongly_connected_order(edges(a="b", b="c", c="a", d="a")) == [["a", "b", "c"], ["d"]]


def test_a_record_that_refers_to_itself_is_a_group_of_its_own() -> None:
    assert strongly_connected_order(edges(a="a", b="a")) == [["a"], ["b"]]


def test_what_is_no_record_of_the_set_is_left_out() -> None:
    assert strongly_connected_order(edges(a="z")) == [["a"]]
    assert strongly_connected_order({}) == []


def test_a_chain_of_ten_thousand_results_is_ordered() -> None:
    refs = [RecordRef(f"Observation/{n}") for n in range(10_000)]
    chain = {ref: [later] for ref, later in zip(refs, [*refs[1:], refs[-1]], strict=True)}

    assert strongly_connected_order(chain) == [[ref] for ref in reversed(refs)]


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(NODES), st.lists(st.sampled_from(NODES), max_size=4), max_size=8
    )
)
def test_every_order_puts_the_referenced_first_and_keeps_circles_together(
    graph: dict[RecordRef, list[RecordRef]],
) -> None:
    groups = strongly_connected_order(graph)
    at = {ref: number for number, group in enumerate(groups) for ref in group}

    assert sorted(at) == sorted(graph)
    reach = {ref: _reachable(graph, ref) for ref in graph}
    for ref in graph:
        for to in reach[ref] & graph.keys():
            assert at[to] <= at[ref]
            assert (at[to] == at[ref]) == (to == ref or ref in reach[to])


def _reachable(graph: dict[RecordRef, list[RecordRef]], start: RecordRef) -> set[RecordRef]:
    seen: set[RecordRef] = set()
    rest = list(graph[start])
    while rest:
        ref = rest.pop()
        if ref not in seen:
            seen.add(ref)
            rest += graph.get(ref, [])
    return seen
