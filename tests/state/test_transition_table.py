"""The two tables in the docstring of `pool_state` are what the state machine does: each cell is executed."""

from collections.abc import Callable
from typing import Final
from weakref import ref

import pytest

from pool_exporter.state import connection as states
from pool_exporter.state import layout, pool_state
from pool_exporter.state.connection import Connection
from pool_exporter.state.pool_slots import UNLIMITED
from pool_exporter.state.pool_state import PoolState
from tests.fakes import FakeClock

LIMIT: Final = 5

EVENTS: Final[dict[str, Callable[[PoolState, Connection], object]]] = {
    "acquired": lambda state, connection: state.acquired(None, connection, ref(FakeClock)),
    "released": lambda state, connection: state.released(connection),
    "detached": lambda state, connection: state.detached(connection),
    "closed": lambda state, connection: state.closed(connection, "dispose"),
    "replaced": lambda state, _: state.replaced(LIMIT),
    "without limit": lambda state, _: state.replaced(UNLIMITED),
}

PATHS: Final = {
    "CLOSED": ("closed",),
    "IDLE": (),
    "USED": ("acquired",),
    "IDLE_IN_OLD_POOL": ("replaced",),
    "USED_IN_OLD_POOL": ("acquired", "replaced"),
    "DETACHED": ("detached",),
}
"""How a new connection gets into each state."""


def table(first: str) -> dict[str, dict[str, str]]:
    """Return the rows of the table whose header begins with *first*: each cell by its row and its column."""
    lines = [[cell.strip() for cell in line.split("|")] for line in (pool_state.__doc__ or "").splitlines()]
    at = next(number for number, cells in enumerate(lines) if cells[0] == first and len(cells) > 1)
    end = next(number for number in range(at, len(lines)) if len(lines[number]) == 1)
    return {cells[0]: dict(zip(lines[at][1:], cells[1:], strict=True)) for cells in lines[at + 1 : end]}


TRANSITIONS: Final = table("state")
OPENINGS: Final = table("opened")


def uses(state: PoolState) -> int:
    """Return how many uses were observed."""
    return sum(state.slots[layout.USE : layout.USE_SUM])


def test_tables_are_whole() -> None:
    """There is a row for each state, and a column for each event."""
    names = {name for name, value in vars(states).items() if name.isupper() and isinstance(value, int)}

    assert names == set(TRANSITIONS) == set(PATHS)
    assert [list(EVENTS)] * len(names) == [list(row) for row in TRANSITIONS.values()]
    assert ["with limit", "without limit"] == list(OPENINGS)


@pytest.mark.parametrize(("start", "event"), [(start, event) for start in TRANSITIONS for event in EVENTS])
def test_transition(start: str, event: str) -> None:
    """An event leads to the state in the cell; "*" observes one use, "-" stores nothing in a slot."""
    cell = TRANSITIONS[start][event]
    clock = FakeClock()
    state = PoolState(clock, LIMIT)
    connection = state.opened(1)
    for step in PATHS[start]:
        EVENTS[step](state, connection)
    clock.advance(1)
    before, observed = state.copy_slots(), uses(state)

    EVENTS[event](state, connection)

    assert getattr(states, start if cell == "-" else cell.rstrip("*")) == connection.state
    assert cell.endswith("*") == (uses(state) - observed == 1)
    if event in ("acquired", "released", "detached", "closed"):
        assert (cell != "-") == (before != state.copy_slots())


@pytest.mark.parametrize(("limit", "opener"), [(limit, opener) for limit, row in OPENINGS.items() for opener in row])
def test_opening(limit: str, opener: str) -> None:
    """A new connection has the state in the cell."""
    state = PoolState(FakeClock(), LIMIT if limit == "with limit" else UNLIMITED)
    connection = state.opened(1, is_old=opener == "by an old pool")

    assert getattr(states, OPENINGS[limit][opener]) == connection.state
