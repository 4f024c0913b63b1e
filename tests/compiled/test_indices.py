"""No transition reads or writes beyond the slots: each index is one of those below, and less than their number.

Compiled, a transition reads and writes the memory of the slots. `boundscheck` stays on all the same, for the one index
that a caller passes in: a token.
"""

import ast
from pathlib import Path

import pytest

from pool_exporter.state import layout
from pool_exporter.state.layout import BOUNDS_NS, SLOT_COUNT, UPPER_NS
from pool_exporter.state.pool_state import PoolState

SOURCE = Path(layout.__file__).with_name("pool_state.py").read_text()

BUCKETS = range(len(BOUNDS_NS) + 1)
"""What `_bucket`, `BUCKET` and `bisect_left` return."""

INDICES: dict[str, list[int]] = {
    "at": [start + at for start in (layout.WAIT, layout.USE) for at in BUCKETS],
    "WAIT_SUM": [layout.WAIT_SUM],
    "USE_SUM": [layout.USE_SUM],
    "bucket": [start + at for start in (layout.WAIT, layout.CREATE) for at in BUCKETS],
    "failure": [*layout.FAILURE_AT.values()],
    "counter": [*layout.CLOSE_AT.values()],
    "gauge": [layout.DETACHED_COUNT, layout.OPEN_COUNT],
    # From `_free_checkout_slots`, or 0, which is never an index; only `opened` and `_clear_slot` write the attribute.
    "connection.slot": [*layout.CHECKOUT_SLOTS],
    # From `_free_pending_slots`, through the caller of `acquire_started`, who passes it back. 0 and less is no index.
    "token": [*layout.PENDING_SLOTS],
    "index": [*layout.PENDING_SLOTS],
}
"""Each index that is no constant of layout.py, and all that it can be."""


def found_indices() -> set[str]:
    """Return the source of each index of `slots` in the transitions."""
    items = (node for node in ast.walk(ast.parse(SOURCE)) if isinstance(node, ast.Subscript))
    return {ast.unparse(item.slice) for item in items if isinstance(item.value, ast.Name) and item.value.id == "slots"}


def test_each_index_is_known() -> None:
    """An index that is added has to get its reason here."""
    constants = {each for each in found_indices() if each.startswith("layout.")}

    assert set(INDICES) == found_indices() - constants
    assert len(constants) > 10


@pytest.mark.parametrize("name", sorted(found_indices()))
def test_each_index_is_inside(name: str) -> None:
    """All that an index can be is a slot."""
    values = INDICES[name] if name in INDICES else [getattr(layout, name.removeprefix("layout."))]

    assert values
    assert set(values) <= set(range(SLOT_COUNT))


def test_the_last_bucket_has_no_next_one() -> None:
    """A duration is never above the last bucket's bound, which is the greatest number of 64 bits."""
    assert ((1 << 63) - 1, len(BUCKETS)) == (UPPER_NS[-1], len(UPPER_NS))
    assert {*layout.BUCKET} <= {*BUCKETS}


def test_slots_are_handed_out_once() -> None:
    """However many connections and callers there are, each has a slot of its own or none."""
    state = PoolState(lambda: 1)
    tokens = [state.acquire_started() for _ in range(100)]
    connections = [state.opened() for _ in range(100)]

    assert sorted(layout.PENDING_SLOTS) == sorted(token for token in tokens if token > 0)
    assert sorted(layout.CHECKOUT_SLOTS) == sorted(each.slot for each in connections if each.slot)


@pytest.mark.parametrize("token", [SLOT_COUNT, 1 << 40])
@pytest.mark.parametrize("end", ["acquired", "acquire_failed", "acquire_abandoned"])
def test_a_token_beyond_the_slots_is_refused(token: int, end: str) -> None:
    """A token that no acquire has returned writes nothing outside."""
    state = PoolState(lambda: 1)
    arguments = {"acquired": (state.opened(), None), "acquire_failed": ("timeout",), "acquire_abandoned": ()}
    before = state.copy_slots()

    with pytest.raises(IndexError):
        getattr(state, end)(token, *arguments[end])

    assert before == state.copy_slots()


def test_connection_slot_has_two_writers() -> None:
    """Only an opening and the end of a connection write its slot; compiled, no other module can."""
    writers = [
        function.name
        for tree in (ast.parse(SOURCE), ast.parse(Path(layout.__file__).with_name("pool_slots.py").read_text()))
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and node.attr == "slot" and isinstance(node.ctx, ast.Store)
    ]

    assert ["opened", "_clear_slot"] == writers
