"""The text about what a process holds: what is written is read again, bounded, whatever the bytes are."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.metrics.holders import Holder, Waiter
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.reports.process_report import PoolReport
from pool_exporter.state.layout import SECOND
from pool_exporter.workers.reports.copies import TEXT_BYTES_MAX
from pool_exporter.workers.reports.reading import ReadPool, read_pools
from pool_exporter.workers.reports.written import CHARACTERS_MAX, ELLIPSIS, SeenPool, shortened, text_of

MOMENT = 100 * SECOND
HOLDER = Holder(
    seconds=7.25,
    place="orders/db.py:9 in get_db < orders/api.py:42 in create_order",
    unit="POST /orders",
    unit_code="orders/api.py:41 in create_order",
    activity="executing",
    now=("orders/api.py:44 in create_order", "orders/api.py:12 in run"),
    owner="a-thread-with-a-name-of-more-than-16-bytes",
    is_owner_alive=False,
    transaction="in_transaction",
    server_pid=8123,
    is_lost=True,
    is_long=True,
)
WAITER = Waiter(2.5, "orders/db.py:9 in get_db", "GET /orders", "Task-17", 1)
REPORT = PoolReport(
    PoolIdentity("orders"),
    (HOLDER,),
    (WAITER,),
    verdict="leak",
    summary='pool "orders": leak',
    advice=("Return it.", "Restart."),
    verdict_at=1_764_000_000.5,
    notes=("A note.",),
    why="1 of 1 is held.",
    where=("taken at orders/db.py:9 in get_db",),
)


def seen(report: PoolReport = REPORT, entry: int = 3) -> SeenPool:
    """Return a pool as the heartbeat has seen it."""
    return SeenPool("ab12cd34", entry, MOMENT, report)


def read(text: bytes) -> ReadPool:
    """Return the pool of a text that `seen` made."""
    return read_pools(text)["ab12cd34", 3]


def test_everything_is_read_again() -> None:
    """A holder, a waiter and a report have all their values; an age is a begin on the pool's clock."""
    found = read(text_of([seen()], 1.5))
    [(began, holder)] = found.holders
    [(waited, waiter)] = found.waiters

    assert (replace(HOLDER, seconds=0.0), MOMENT - 7_250_000_000) == (holder, began)
    assert (replace(WAITER, seconds=0.0), MOMENT - 2_500_000_000) == (waiter, waited)
    assert replace(REPORT, pool=PoolIdentity(""), holders=(), waiters=()) == found.report


def test_text_is_once_in_the_table() -> None:
    """However many holders have a place, the text is written once."""
    text = text_of([seen(replace(REPORT, holders=(HOLDER,) * 50))], 1.5)

    assert 1 == text.count(b"orders/api.py:42 in create_order")
    assert 50 == len(read(text).holders)


def test_long_text_is_cut() -> None:
    """A text has at most CHARACTERS_MAX characters, the last of which is an ellipsis."""
    found = read(text_of([seen(replace(REPORT, summary="x" * 1000))], 1.5))

    assert "x" * (CHARACTERS_MAX - 1) + ELLIPSIS == found.report.summary


def test_text_is_one_printable_line() -> None:
    """No text can move the cursor of a terminal, or forge a line of a report."""
    assert "a [31mb c" == shortened("a\x1b[31mb\nc")


@pytest.mark.parametrize(("pools", "holders"), [(1, 1000), (200, 40), (1000, 1)])
def test_text_has_space(pools: int, holders: int) -> None:
    """However much is held, the text fits, and has something of the most important pool."""
    many = tuple(replace(HOLDER, owner=f"Task-{number}", place=f"a.py:{number} in f") for number in range(holders))
    text = text_of([seen(replace(REPORT, holders=many), number + 3) for number in range(pools)], 1.5)

    assert len(text) <= TEXT_BYTES_MAX
    assert read(text).holders


def test_nothing_fits() -> None:
    """A pool that is too large by itself is left out, and the text is one all the same."""
    texts = tuple(str(number) * 250 for number in range(100))
    text = text_of([seen(replace(REPORT, notes=texts))], 1.5)

    assert {} == read_pools(text)
    assert [] == json.loads(text)["pools"]


def test_later_release_may_add_values() -> None:
    """What is behind the values that are known is left out."""
    content = json.loads(text_of([seen()], 1.5))
    [pool] = content["pools"]
    pool["holders"][0].append("new")
    pool["waiters"][0] += [1, 2]
    pool["report"].append({})
    pool["novelty"] = 5

    assert read(text_of([seen()], 1.5)) == read(json.dumps(content).encode())


def test_unknown_word_of_a_closed_set() -> None:
    """An activity or a state of a later release is unknown here; its verdict is shown."""
    text = text_of([seen(replace(REPORT, verdict="new_verdict"))], 1.5)
    found = read(text.replace(b'"executing"', b'"dancing"').replace(b'"in_transaction"', b'"prepared"'))
    [(_, holder)] = found.holders

    assert ("unknown", "unknown", "new_verdict") == (holder.activity, holder.transaction, found.report.verdict)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"\xff\xfe",
        b"[" * 16_000,
        b'{"pools": 5}',
        b'{"pools": [{}]}',
        b'{"pools": [{"entry": ["a", 1e400]}]}',
        b'{"pools": [{"entry": ["a", 1], "holders": [[1]]}]}',
        b'{"texts": ["leak"], "pools": [{"entry": ["a", 1], "waiters": [[1, [9], 0, 0, 0]]}]}',
        b'{"texts": ["leak"], "pools": [{"entry": ["a", 1], "waiters": [[-1, [], 0, 0, 0]]}]}',
    ],
)
def test_text_that_makes_no_sense_is_no_pool(text: bytes) -> None:
    """Nothing is raised."""
    assert {} == read_pools(text)


@pytest.mark.parametrize("report", [[1, "NaN", 0, 0, [], [], []], [2, 5, 0, 0, [], [], []]])
def test_report_that_makes_no_sense_is_left_out(report: list[object]) -> None:
    """A time that is no number, or a verdict that is no word, is no report; the holders are shown."""
    pool = {"entry": ["ab12cd34", 3], "waiters": [[1, [], 0, 0, 0]], "report": report}
    found = read(json.dumps({"texts": ["leak", "<b>"], "pools": [pool]}).encode().replace(b'"NaN"', b"NaN"))

    assert ("", 1) == (found.report.verdict, len(found.waiters))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(st.data())
def test_any_json_is_read(data: st.DataObject) -> None:
    """A text with any of its values replaced by anything gives pools, or none."""
    content = json.loads(text_of([seen()], 1.5))
    pool = content["pools"][0]
    inner = data.draw(st.sampled_from([content, pool, pool["holders"][0], pool["waiters"][0], pool["report"]]))
    key = data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
    inner[key] = data.draw(JSON)
    found = read_pools(json.dumps(content).encode("utf-8", "replace"))

    assert len(found) <= 1
    assert all(isinstance(pool, ReadPool) for pool in found.values())
