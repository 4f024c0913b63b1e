"""Reports of processes as JSON: what is written is read again, and whatever is read is a report or a ValueError."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.metrics.holders import Holder, Waiter
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.reports.process_report import PoolReport, ProcessReport
from pool_exporter.metrics.reports.report_json import TEXT_MAX, as_json, from_json

HOLDER = Holder(1.5, "a.py:1 in f", "GET /a", "a.py:1 in f", "own_code", ("a.py:2 in g",), "Task-1", False, "idle", 7)
POOL = PoolReport(
    PoolIdentity("orders", "postgresql"),
    (HOLDER, Holder(1.0, is_lost=True, is_long=True, server="active")),
    (Waiter(2.5, "b.py:1 in h", "GET /b", "Task-2", 1),),
    verdict="leak",
    summary="leaks",
    advice=("Return it.",),
    verdict_at=1_764_000_000.5,
    notes=("A note.",),
    why="1 of 1",
    where=("a.py:1 in f",),
)
REPORT = ProcessReport(4711, "shop", "ab12", "frozen", 7.5, 1_764_000_001.5, (POOL,))


def test_report_is_read_again() -> None:
    """Every value of a report is in its JSON."""
    assert REPORT == from_json(json.loads(json.dumps(as_json(REPORT))))


def test_missing_and_unknown_keys() -> None:
    """A release that knows more keys, or fewer, is understood."""
    assert ProcessReport(7, pools=(PoolReport(PoolIdentity("a")),)) == from_json(
        {"pid": 7, "novelty": [1], "pools": [{"pool": {"name": "a"}, "more": {}}]}
    )


def test_text_is_short_and_printable() -> None:
    """No text moves the cursor of a terminal, and none fills a page."""
    found = from_json({"pid": 7, "service": "\x1b[31m" + "x" * 1000})

    assert " [31m" + "x" * (TEXT_MAX - 5) == found.service


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"pid": "7"},
        {"pid": -1},
        {"pid": True},
        {"pid": 10**400},
        {"pid": 7, "pools": {}},
        {"pid": 7, "pools": [{"pool": []}]},
        {"pid": 7, "pools": [{"pool": {"name": "a"}, "holders": [{"seconds": 1, "now": "x"}]}]},
        {"pid": 7, "seen_at": float("nan")},
    ],
)
def test_anything_else_is_no_report(value: object) -> None:
    """What is no report is a ValueError, and nothing else."""
    with pytest.raises(ValueError, match="it is no report"):
        from_json(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.data())
def test_any_json_is_a_report_or_none(data: st.DataObject) -> None:
    """A report with any of its values replaced by anything."""
    content: dict[str, object] = json.loads(json.dumps(as_json(REPORT)))
    inner: object = content
    while isinstance(inner, dict | list) and inner:
        key = data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        if data.draw(st.booleans()):
            inner[key] = data.draw(JSON)
            break
        inner = inner[key]
    try:
        found = from_json(content)
    except ValueError:
        return

    assert isinstance(found, ProcessReport)
