"""The note of a TimeoutError: the verdict, what holds the connections, the lines at fault, and what to do."""

from dataclasses import replace

from pool_exporter.diagnosis.texts.cures import CURES
from pool_exporter.diagnosis.texts.diagnosis_text import NOTE_PLACES_MAX, diagnosis, note
from tests.diagnosis.test_diagnosis_text import BUSY, FULL, LOST, PLACE


def test_note() -> None:
    """The note has the verdict, the holders with unit, place and endpoint, and what to do, in a few lines."""
    lines = note(diagnosis(FULL)).splitlines()

    assert lines[0].startswith('pool_exporter: pool "orders": leak: ')
    assert f"3 x POST /exports, 2.1 s at most, ended, in a transaction, taken at {PLACE}" in lines[1]
    assert LOST.unit_code in lines[1]
    assert f"  {CURES['leak'].cure}" == lines[-1]
    assert len(lines) == 4


def test_note_of_an_older_report() -> None:
    """A note of a report that is not as of the timeout says when that was made, and how many holders have ended."""
    seen = "  That was seen at 2025-11-24 16:00:00 UTC, 11.0 s before this timeout."

    assert seen == note(diagnosis(FULL), 11.0).splitlines()[1]
    assert (
        "  That was seen at 2025-11-24 16:00:00 UTC, 500 ms before this timeout. Of these 4 connections, 2 have been "
        "returned since." == note(diagnosis(FULL), 0.5, 2).splitlines()[1]
    )


def test_note_of_a_blocked_loop() -> None:
    """The note has the line that blocks the loop's thread, before the advice."""
    found = FULL._replace(loop_now=("app/img.py:77 in resize",))

    assert (
        "  the event loop's thread is at app/img.py:77 in resize"
        == note(diagnosis(found, "loop_blocked")).splitlines()[-2]
    )


def test_note_of_work_outside_the_database() -> None:
    """The note has the frames at which the holders are."""
    expected = "  now at httpx/_client.py:9 in send < orders/pay.py:53 in charge, by POST /pay (1 x)"

    assert expected == note(diagnosis(FULL, "held_in_own_code")).splitlines()[-2]


def test_note_of_a_self_deadlock() -> None:
    """The note has the place of the second connection, however many places of the first there are."""
    holders = tuple(replace(BUSY, place=f"app/a.py:{line} in f") for line in range(5))
    lines = note(diagnosis(FULL._replace(holders=holders), "self_deadlock")).splitlines()

    assert "  and again at orders/db.py:9 in get_db (1 x)" == lines[-2]


def test_note_has_few_places() -> None:
    """Of many places the note has the most frequent ones."""
    holders = tuple(replace(BUSY, now=(f"app/a.py:{line} in f",)) for line in range(9))
    lines = note(diagnosis(FULL._replace(holders=holders), "held_in_own_code")).splitlines()

    assert NOTE_PLACES_MAX == sum(line.startswith("  now at ") for line in lines)


def test_names_change_no_terminal_and_begin_no_line() -> None:
    """A name may have any character: a terminal gets none that moves its cursor, and a log no further line."""
    evil = "\x1b[2J\r\n\x9b31m\u2028\x00"
    holder = replace(BUSY, unit=evil, unit_code=evil, place=evil, owner=evil, now=(evil,))
    made = diagnosis(FULL._replace(pool=evil, holders=(holder,)), "held_in_own_code")
    texts = [made.summary, *note(made).split("\n"), *str(made).split("\n")]

    assert [] == [line for line in texts if not line.isprintable()]
    assert len(str(diagnosis(FULL._replace(holders=(BUSY,)), "held_in_own_code")).split("\n")) == len(
        str(made).split("\n")
    )
