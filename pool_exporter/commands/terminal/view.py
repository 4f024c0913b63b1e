"""What the operator looks at: the order of the pools, the one that is chosen, and whether it is open; and the keys.

Pure values and functions. Nothing here may know how a terminal is read or written.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from pool_exporter.advice.attention import LEVELS
from pool_exporter.commands.terminal.samples import Sample
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.web.status.values import PoolStatus, Status

PAGE: Final = 10
"""How many rows a page key moves."""


@dataclass(frozen=True)
class Row:
    """One pool of one source."""

    source: str
    pool: PoolStatus
    status: Status

    @property
    def key(self) -> tuple[str, PoolIdentity]:
        """What stays the same from one sample to the next."""
        return self.source, self.pool.pool


_Key: TypeAlias = Callable[[Row], float | str]

SORTS: Final[Mapping[str, _Key]] = {
    "trouble": lambda row: LEVELS.index(row.pool.level) if row.pool.level in LEVELS else len(LEVELS),
    "name": lambda row: str(row.pool.pool.name),
    "used": lambda row: -(row.pool.used or 0),
    "waiting": lambda row: -(row.pool.pending or 0),
    "p99": lambda row: -(row.pool.recent.wait_p99_seconds or 0.0),
    "timeouts": lambda row: -row.pool.recent.timeouts,
    "oldest": lambda row: -max(row.pool.oldest_use_seconds, row.pool.oldest_wait_seconds or 0.0),
}
"""The orders of the pools, by their names."""


@dataclass(frozen=True)
class View:
    """What the operator has chosen.

    Attributes:
        sort: The order of the pools, one of `SORTS`.
        is_reversed: Whether the order is turned round.
        chosen: The key of the chosen row; None for the first one.
        is_open: Whether the chosen pool is shown in full.
        scroll: How many lines of it are above the screen.
        is_paused: Whether the numbers stay as they are.
        has_help: Whether the keys are shown.
        has_ended: Whether the operator wants to leave.
    """

    sort: str = "trouble"
    is_reversed: bool = False
    chosen: tuple[str, PoolIdentity] | None = None
    is_open: bool = False
    scroll: int = 0
    is_paused: bool = False
    has_help: bool = False
    has_ended: bool = False


def rows_of(samples: Sequence[Sample], view: View) -> list[Row]:
    """Return all pools in the order of the view."""
    rows = [
        Row(sample.source, pool, sample.status)
        for sample in samples
        if sample.status is not None
        for pool in sample.status.pools
    ]
    return sorted(rows, key=SORTS[view.sort], reverse=view.is_reversed)


def chosen_index(rows: Sequence[Row], view: View) -> int:
    """Return the index of the chosen row; 0 where it is gone."""
    return next((index for index, row in enumerate(rows) if row.key == view.chosen), 0)


def pressed(view: View, key: str, rows: Sequence[Row]) -> View:
    """Return the view after a key: a character, or a name such as "up" or "enter"."""
    if view.has_help:
        return replace(view, has_help=False, has_ended=key == "q")
    steps = _STEPS.get(key)
    if steps is not None:
        return replace(view, scroll=max(0, view.scroll + steps)) if view.is_open else _moved(view, steps, rows)
    action = _ACTIONS.get(key)
    return view if action is None else action(view, rows)


_FAR: Final = 10**6
_STEPS: Final = {
    **dict.fromkeys(("up", "k"), -1),
    **dict.fromkeys(("down", "j"), 1),
    **dict.fromkeys(("home", "g"), -_FAR),
    **dict.fromkeys(("end", "G"), _FAR),
    "pageup": -PAGE,
    "pagedown": PAGE,
}


def _moved(view: View, steps: int, rows: Sequence[Row]) -> View:
    if not rows:
        return view
    index = min(max(0, chosen_index(rows, view) + steps), len(rows) - 1)
    return replace(view, chosen=rows[index].key)


def _toggled(view: View, rows: Sequence[Row]) -> View:
    if not rows:
        return view
    return replace(view, is_open=not view.is_open, scroll=0, chosen=rows[chosen_index(rows, view)].key)


def _closed(view: View, _: Sequence[Row]) -> View:
    return replace(view, is_open=False, scroll=0)


def _next_sort(step: int) -> Callable[[View, Sequence[Row]], View]:
    def action(view: View, _: Sequence[Row]) -> View:
        names = list(SORTS)
        return replace(view, sort=names[(names.index(view.sort) + step) % len(names)], is_reversed=False)

    return action


_ACTIONS: Final[Mapping[str, Callable[[View, Sequence[Row]], View]]] = {
    "enter": _toggled,
    "right": _toggled,
    "escape": _closed,
    "left": _closed,
    "s": _next_sort(1),
    "S": _next_sort(-1),
    "r": lambda view, _: replace(view, is_reversed=not view.is_reversed),
    " ": lambda view, _: replace(view, is_paused=not view.is_paused),
    "p": lambda view, _: replace(view, is_paused=not view.is_paused),
    "?": lambda view, _: replace(view, has_help=True),
    "h": lambda view, _: replace(view, has_help=True),
    "q": lambda view, _: replace(view, has_ended=True),
}

HELP: Final = (
    ("up, down, PgUp, PgDn, Home, End", "choose a pool; scroll while one is open"),
    ("Enter", "open the chosen pool: its verdict, holders and waiters"),
    ("Esc", "back to all pools"),
    ("s, S", "next and previous order: " + ", ".join(SORTS)),
    ("r", "turn the order round"),
    ("space", "pause"),
    ("q", "quit"),
)
"""The keys and what they do."""
