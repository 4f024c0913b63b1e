"""The texts of a report: the same layout for each verdict, with names, numbers and advice, in lines that fit."""

from dataclasses import replace

import pytest

from pool_exporter.diagnosis.evidence import Evidence
from pool_exporter.diagnosis.examination import Examination
from pool_exporter.diagnosis.texts.cures import CURES
from pool_exporter.diagnosis.texts.diagnosis_text import GROUPS_MAX, WAITERS_MAX, diagnosis
from pool_exporter.diagnosis.texts.wording import WIDTH
from pool_exporter.diagnosis.values import Culprit
from pool_exporter.diagnosis.verdict import VERDICTS
from pool_exporter.metrics.holders import Holder, Waiter

EACH_VERDICT = pytest.mark.parametrize("name", VERDICTS)
PLACE = "orders/export.py:88 in export_row < orders/api.py:41 in post_export"
LOST = Holder(
    seconds=2.08,
    place=PLACE,
    unit="POST /exports",
    unit_code="orders/api.py:31 in post_export",
    activity="ended",
    owner="Task-7",
    is_owner_alive=False,
    transaction="in_transaction",
    server_pid=8123,
    is_lost=True,
)
BUSY = Holder(
    seconds=1.2,
    place="orders/pay.py:52 in charge",
    unit="POST /pay",
    unit_code="orders/api.py:99 in pay",
    activity="own_code",
    now=("httpx/_client.py:9 in send", "orders/pay.py:53 in charge"),
    owner="AnyIO worker thread",
)
FULL = Examination(
    "orders",
    1_764_000_000.5,
    4711,
    Evidence(
        limit=4,
        used=4,
        pending=14,
        at_timeout=True,
        is_stuck=True,
        wait_seconds=2.0,
        oldest_wait_seconds=2.0,
        n_lost=3,
        n_app=1,
        n_known=4,
        arrivals_per_second=6.8,
        mean_use_seconds=0.026,
        open_error="FATAL: sorry, too many clients already",
    ),
    (LOST, replace(LOST, seconds=2.0, owner="Task-8", server_pid=8124), replace(LOST, seconds=1.9), BUSY),
    (Waiter(2.0, "orders/db.py:9 in get_db", "GET /orders", "Task-99", holds=1), Waiter(1.0), Waiter(0.5)),
)

SCREEN = """\
pool "orders": leak                                           process 4711   2025-11-24 16:00:00 UTC
        Connections are held by code that has ended without returning them. A caller timed out after
        2.0 s. 4 of 4 connections are used, 14 callers wait, none was granted meanwhile.
  WHY   3 of 4 were taken by code that has ended: a reference to them is kept, or another task or
        thread that got them uses them still. Returned uses need 0.2 connections (6.8/s x 26 ms):
        without the lost ones the pool is large enough.
"""


def test_screen() -> None:
    """The first line has pool and verdict, then come the situation, the reasons with their numbers, and the rest."""
    labels = [line[2:8].strip() for line in str(diagnosis(FULL)).splitlines()]

    assert str(diagnosis(FULL)).startswith(SCREEN)
    assert ["WHY", "WHERE", "DO", "HELD", "WAIT"] == [label for label in labels if label.isupper()]


@EACH_VERDICT
def test_every_verdict_has_a_screen(name: str) -> None:
    """The first line has the verdict as the table spells it, and the advice of the verdict is there."""
    made = diagnosis(FULL, name)
    words = " ".join(str(made).split())

    assert str(made).splitlines()[0].startswith(f'pool "orders": {name} ')
    assert CURES[name].cure in words
    assert name == made.verdict


@EACH_VERDICT
def test_lines_fit(name: str) -> None:
    """Where names allow, no line is wider than a hundred columns."""
    assert [] == [line for line in str(diagnosis(FULL, name)).splitlines() if len(line) > WIDTH]


@EACH_VERDICT
def test_names_are_whole(name: str) -> None:
    """Place, unit and endpoint of each holder are on the screen as the values have them, in one line each."""
    text = str(diagnosis(FULL, name))

    for holder in (LOST, BUSY):
        assert holder.place in text
        assert holder.unit in text
        assert holder.unit_code in text


def test_names_that_do_not_fit_are_whole_too() -> None:
    """A name that is longer than a line is not broken."""
    long = replace(BUSY, unit="GET /" + "very-long/" * 15, unit_code="a/b.py:1 in " + "f" * 120)
    text = str(diagnosis(FULL._replace(holders=(long,))))

    assert long.unit in text
    assert long.unit_code in text


def test_alike_holders_are_one_group() -> None:
    """Holders that differ in time, owner and server process only are shown once, the largest group first."""
    lines = str(diagnosis(FULL)).splitlines()

    assert "  HELD  3 x POST /exports, 2.1 s at most, ended, in a transaction" in lines
    assert "        1 x POST /pay, 1.2 s, in its own code" in lines
    assert "            by       owner Task-7, Task-8, server pid 8123, 8124" in lines


def test_what_is_not_shown_is_counted() -> None:
    """A screen has few groups and few waiters, and says how many more there are."""
    holders = tuple(replace(BUSY, unit=f"GET /{i}") for i in range(GROUPS_MAX + 2))
    waiters = tuple(Waiter(1.0, unit=f"GET /{i}") for i in range(WAITERS_MAX + 1))
    lines = str(diagnosis(FULL._replace(holders=holders, waiters=waiters))).splitlines()

    assert "        ... 2 holders more" in lines
    assert "        ... 1 waiter more" in lines


def test_alike_waiters_are_one_group() -> None:
    """Waiters are shown as holders are: how many, for how long, where, and what they hold already."""
    lines = str(diagnosis(FULL)).splitlines()

    assert lines[-3:] == [
        "  WAIT  2 x (unit unknown), 1.0 s at most",
        "        1 x GET /orders, 2.0 s, holds 1 connection already, Task-99",
        "            at       orders/db.py:9 in get_db",
    ]


def test_unknown_is_said() -> None:
    """A holder of which nothing is known is shown as such."""
    text = str(diagnosis(FULL._replace(holders=(Holder(1.0),))))

    assert "1 x (unit unknown), 1.0 s, unknown what it does" in text
    assert "taken at (place of checkout unknown)" in text


def test_where_of_a_leak_is_the_place_of_checkout() -> None:
    """The lost holders' places are named, the others' are not."""
    screen = str(diagnosis(FULL))
    where = screen[screen.index("  WHERE") : screen.index("  DO")]

    assert f"taken at {PLACE}" in where
    assert "pay" not in where


def test_where_of_work_outside_the_database_is_what_runs() -> None:
    """The frames at which the holders are come first."""
    assert "WHERE now at httpx/_client.py:9 in send < orders/pay.py:53 in charge, by POST /pay" in str(
        diagnosis(FULL, "held_in_own_code")
    )


def test_where_of_work_in_libraries_is_the_checkout() -> None:
    """A library that waits for a client says nothing: the place at which the application took the connection does."""
    now = ("uvicorn/websockets_impl.py:9 in receive",)
    holder = Holder(2.0, place="orders/chat.py:5 in on_connect", activity="own_code", now=now, unit="WEBSOCKET /chat")
    found = FULL._replace(holders=(holder,), library_frames=frozenset([now]))

    assert ("taken at orders/chat.py:5 in on_connect, by WEBSOCKET /chat (1 x)",) == diagnosis(
        found, "held_in_own_code"
    ).where


def test_culprit_is_what_the_verdict_points_to() -> None:
    """It is the first place of WHERE, with its unit, and not that of the largest group of holders."""
    holders = (BUSY, replace(BUSY, seconds=1.1), LOST)
    lost, busy = (diagnosis(FULL._replace(holders=holders), name) for name in ("leak", "held_in_own_code"))

    assert Culprit("orders/export.py:88 in export_row", "POST /exports", LOST.unit_code) == lost.culprit
    assert Culprit("httpx/_client.py:9 in send", "POST /pay", BUSY.unit_code) == busy.culprit
    assert "orders/export.py:88 in export_row" in lost.where[0]
    assert "httpx/_client.py:9 in send" in busy.where[0]


def test_culprit_of_each_other_verdict_with_a_place() -> None:
    """The loop's frame, the callers, the endpoint; none where no place is to blame."""
    found = FULL._replace(holders=(BUSY,), loop_now=("orders/hash.py:3 in hashed", "orders/api.py:5 in login"))
    names = ("loop_blocked", "opening", "threads_deadlock", "too_small")

    assert [
        Culprit("orders/hash.py:3 in hashed"),
        Culprit("orders/db.py:9 in get_db", "GET /orders"),
        Culprit("orders/api.py:99 in pay", "POST /pay", "orders/api.py:99 in pay"),
        None,
    ] == [diagnosis(found, name).culprit for name in names]


def test_where_of_a_self_deadlock_fits_into_lines() -> None:
    """A long second place is broken between its frames, as the first one is."""
    frame = "repositories/orders_of_customers.py:152 in OrdersOfCustomersRepository.get"
    found = FULL._replace(waiters=(Waiter(1.0, f"{frame} < {frame}", "", "", 1),))

    assert 100 >= max(map(len, str(diagnosis(found, "self_deadlock")).splitlines()))


def test_where_of_a_self_deadlock_is_both_places() -> None:
    """The second connection's place is that of a waiter which has one already."""
    assert "and again at orders/db.py:9 in get_db (1 x)" in str(diagnosis(FULL, "self_deadlock"))


def test_where_of_a_deadlock_of_threads() -> None:
    """The endpoints that hold the connections are named: the place of checkout is often a shared dependency."""
    assert "WHERE orders/api.py:31 in post_export, by POST /exports (3 x)" in str(diagnosis(FULL, "threads_deadlock"))


def test_where_of_a_blocked_loop() -> None:
    """The line that blocks the loop's thread is named."""
    found = FULL._replace(loop_now=("app/img.py:77 in resize",))

    assert "WHERE the event loop's thread is at app/img.py:77 in resize" in str(diagnosis(found, "loop_blocked"))


def test_where_of_slow_opening_is_where_callers_wait() -> None:
    """Connections that are being opened have no holder, so the places of the callers are named."""
    assert "WHERE callers wait at orders/db.py:9 in get_db (1 x)" in str(diagnosis(FULL, "opening"))


UNKNOWN = [
    (Evidence(used=3), "What the holders do is not known, and no rule fits."),
    (Evidence(used=3, n_known=1), "What 1 of 3 holders does is known, and no rule fits."),
    (Evidence(used=3, n_known=2), "What 2 of 3 holders do is known, and no rule fits."),
    (Evidence(used=0), "No connection is held, and no rule fits."),
]


@pytest.mark.parametrize(("evidence", "expected"), UNKNOWN)
def test_reason_of_an_unknown_cause(evidence: Evidence, expected: str) -> None:
    """The report says of how many holders it is known what they do."""
    assert f"WHY   {expected}" in str(diagnosis(FULL._replace(evidence=evidence), "unknown"))


def test_waiters_that_hold_connections() -> None:
    """Where it is unknown what the holders do, the report says that callers wait that hold connections already."""
    made = diagnosis(FULL._replace(evidence=Evidence(used=3, n_waiting_with=2)), "unknown")
    text = " ".join(str(made).split())

    assert "no rule fits. The task or thread of each of 2 waiting callers has a connection of this pool already" in text


def test_a_name_is_that_of_all_waiters() -> None:
    """A group of waiters has an owner's name only if it is that of all."""
    different = FULL._replace(waiters=(Waiter(2.0, owner="Thread-0"), Waiter(1.0, owner="Thread-1")))
    same = FULL._replace(waiters=(Waiter(2.0, owner="MainThread"), Waiter(1.0, owner="MainThread")))

    assert "Thread-" not in str(diagnosis(different))
    assert "WAIT  2 x (no unit), 2.0 s at most, MainThread" in str(diagnosis(same))


def test_use_times() -> None:
    """The use time of lately is compared with that of earlier uses."""
    evidence = Evidence(used=1, n_app=1, n_known=1, mean_use_seconds=8.2, long_mean_use_seconds=0.1)
    text = " ".join(str(diagnosis(FULL._replace(evidence=evidence), "held_in_own_code")).split())

    assert "Uses that ended lately took 8.2 s on average, and earlier ones 100 ms." in text


def test_error_of_the_server() -> None:
    """A server that refuses connections is quoted."""
    assert "failed: FATAL: sorry, too many clients already" in str(diagnosis(FULL, "server_full"))


def test_size_that_would_do() -> None:
    """Of a pool that is too small, the report has the load and a size."""
    evidence = FULL.evidence._replace(arrivals_per_second=400.0, mean_use_seconds=0.027)

    text = str(diagnosis(FULL._replace(evidence=evidence), "too_small"))

    assert "need 10.8 connections (400.0/s x 27 ms); 14 would do" in " ".join(text.split())


NOTED = [
    ("lost", Evidence(n_lost=1), "1 connection is lost"),
    ("self", Evidence(n_self=2), "2 holders wait for another connection"),
    ("loop", Evidence(loop_waits=True), "on the thread of a running event loop"),
    ("places", Evidence(lost_places=1), "lost 1 place of this pool"),
]


@pytest.mark.parametrize(("_", "evidence", "expected"), NOTED, ids=[row[0] for row in NOTED])
def test_notes(_: str, evidence: Evidence, expected: str) -> None:
    """What was seen besides the verdict is a note."""
    (only,) = diagnosis(FULL._replace(evidence=evidence), "unknown").notes

    assert expected in only


def test_no_note_repeats_the_verdict() -> None:
    """A leak has no note that connections are lost."""
    assert diagnosis(FULL, "leak").notes == ()


def test_long_units_are_noted() -> None:
    """A holder that was declared long is listed, and the report says that it is not counted."""
    made = diagnosis(FULL._replace(holders=(replace(BUSY, is_long=True),)), "unknown")

    assert "declared long" in str(made)
    assert "1 connection is held by units declared with long=True, and not counted." in made.notes


def test_every_verdict_has_its_texts() -> None:
    """The texts are those of the verdicts, each with a meaning, a cause and a cure."""
    assert set(VERDICTS) == set(CURES)
    assert [] == [name for name, cure in CURES.items() if not (cure.meaning and cure.cause and cure.cure)]


def test_no_overflow_is_lowered_where_there_is_none() -> None:
    """The advice on slow opening fits a pool of which max_overflow is 0 already, too."""
    assert "lower max_overflow" not in CURES["opening"].cure
    assert "max_overflow=0" in CURES["opening"].cure


@pytest.mark.parametrize("name", ["threads_deadlock", "self_deadlock", "leak", "slow_queries", "held_in_own_code"])
def test_a_larger_pool_is_not_advised(name: str) -> None:
    """Where a larger pool does not help, nothing says "raise"."""
    assert "Raise" not in CURES[name].cure
    assert "larger pool" in CURES[name].cure or "smaller one" in CURES[name].cure


def test_unlimited_pool() -> None:
    """A pool without a limit has none in the text."""
    assert "1 connections are used" not in str(diagnosis(FULL._replace(evidence=Evidence(limit=-1, used=4))))
    assert "4 connections are used" in str(diagnosis(FULL._replace(evidence=Evidence(limit=-1, used=4))))
