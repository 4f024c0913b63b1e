"""What the keys do, and the orders of the pools."""

from dataclasses import replace
from functools import reduce

import pytest

from pool_exporter.advice.recent import RecentNumbers
from pool_exporter.commands.terminal.live import keys_of
from pool_exporter.commands.terminal.samples import Sample
from pool_exporter.commands.terminal.view import SORTS, View, chosen_index, pressed, rows_of
from pool_exporter.commands.top import SORTS as ARGUMENTS
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.web.status.values import PoolStatus, Status


def pool(name: str, **values: object) -> PoolStatus:
    """Return the state of one pool."""
    return replace(PoolStatus(PoolIdentity(name)), **values)  # type: ignore[arg-type]  # each test gives what it needs


SAMPLES = [
    Sample(
        "a",
        Status(
            0.0,
            pools=(
                pool("full", level="trouble", used=9, pending=2, recent=RecentNumbers(timeouts=1)),
                pool("slow", level="busy", used=1, recent=RecentNumbers(wait_p99_seconds=3.0)),
            ),
        ),
    ),
    Sample("b", None, "no answer"),
    Sample("c", Status(0.0, pools=(pool("calm", used=3, oldest_use_seconds=7.0),))),
]


def names(view: View) -> list[str]:
    """Return the names of the pools in the order of a view."""
    return [row.pool.pool.name for row in rows_of(SAMPLES, view)]


def after(*keys: str, view: View | None = None) -> View:
    """Return the view after some keys."""
    return reduce(lambda each, key: pressed(each, key, rows_of(SAMPLES, each)), keys, view or View())


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("trouble", ["full", "slow", "calm"]),
        ("name", ["calm", "full", "slow"]),
        ("used", ["full", "calm", "slow"]),
        ("waiting", ["full", "slow", "calm"]),
        ("p99", ["slow", "full", "calm"]),
        ("timeouts", ["full", "slow", "calm"]),
        ("oldest", ["calm", "full", "slow"]),
    ],
)
def test_orders(sort: str, expected: list[str]) -> None:
    """Each order has the pools of all sources, the greatest numbers first; reversed it is turned round."""
    assert expected == names(View(sort))
    assert expected[0] == names(View(sort, is_reversed=True))[-1]


def test_orders_are_those_of_the_argument() -> None:
    """The argument --sort takes every order, in the same sequence."""
    assert tuple(SORTS) == ARGUMENTS


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([], "full"),
        (["down"], "slow"),
        (["j", "j"], "calm"),
        (["j", "j", "j"], "calm"),
        (["G", "up"], "slow"),
        (["G", "home"], "full"),
        (["pagedown", "k"], "slow"),
        (["up"], "full"),
    ],
)
def test_moving(keys: list[str], expected: str) -> None:
    """Keys choose a pool, and stop at the first and the last."""
    view = after(*keys)
    rows = rows_of(SAMPLES, view)

    assert expected == rows[chosen_index(rows, view)].pool.pool.name


def test_chosen_pool_stays_when_the_order_changes() -> None:
    """The mark goes with its pool."""
    view = after("down", "s")
    rows = rows_of(SAMPLES, view)

    assert ("name", "slow", 2) == (view.sort, rows[chosen_index(rows, view)].pool.pool.name, chosen_index(rows, view))


@pytest.mark.parametrize("key", ["enter", "right"])
def test_opening_and_closing(key: str) -> None:
    """A key opens the chosen pool, and then up and down scroll; Esc goes back to the top of it."""
    opened = after("down", key, "down", "down", "up")

    assert (True, 1, "slow") == (opened.is_open, opened.scroll, opened.chosen[1].name if opened.chosen else "")
    assert (False, 0) == (after("escape", view=opened).is_open, after("escape", view=opened).scroll)
    assert after(key, "up").scroll == 0


def test_orders_by_keys() -> None:
    """`s` goes through all orders and comes round; `S` goes back; `r` turns an order round until the next one."""
    assert "trouble" == after(*["s"] * len(SORTS)).sort
    assert list(SORTS)[-1] == after("S").sort
    assert after("r").is_reversed
    assert not after("r", "s").is_reversed


def test_help_pause_and_end() -> None:
    """`?` shows the keys until any other key, space pauses, and q ends from everywhere."""
    assert (True, False) == (after("?").has_help, after("?", "down").has_help)
    assert (True, False) == (after(" ").is_paused, after(" ", "p").is_paused)
    assert {True} == {after(*keys, "q").has_ended for keys in ([], ["enter"], ["?"])}


def test_unknown_key_and_no_pool() -> None:
    """An unknown key does nothing, and without a pool there is nothing to choose or to open."""
    assert View() == after("x")
    assert {View()} == {pressed(View(), key, []) for key in ("down", "enter", "G")}


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("q", ["q"]),
        ("\x1b[A\x1b[B", ["up", "down"]),
        ("\x1bOA", ["up"]),
        ("\x1b[5~j", ["pageup", "j"]),
        ("\x1b", ["escape"]),
        ("\x1bq", ["escape", "q"]),
        ("\x1b[1;5Cq", ["q"]),
        ("\x1b[", []),
        ("\r", ["enter"]),
        ("\x03", ["q"]),
        ("é", ["é"]),
        ("", []),
    ],
)
def test_typed_keys(typed: str, expected: list[str]) -> None:
    """What a terminal sends becomes keys, and a sequence that is not known becomes nothing."""
    assert expected == list(keys_of(typed))
