"""What is on the screen, as plain text of a given size."""

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console, RenderableType

from pool_exporter.commands.terminal.frame import frame
from pool_exporter.commands.terminal.samples import Sample
from pool_exporter.commands.terminal.screen import once
from pool_exporter.commands.terminal.view import View, pressed, rows_of
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.reports.process_report import ProcessReport
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.web.status.values import HolderGroup, PoolStatus, Status
from tests.fixtures.incidents import INCIDENTS, ORDERS, Incident, frozen, leak, many, pool, two_services


def sample(incident: Incident, source: str = "http://a/", fault: str = "", at: float = 100.0) -> Sample:
    """Return what a source says of an incident."""
    return Sample(source, incident.status(), fault, at)


def printed(part: RenderableType, width: int = 110) -> str:
    """Return what is printed, without colours and trailing spaces."""
    console = Console(file=StringIO(), width=width, color_system=None, highlight=False)
    console.print(part)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]  # it is the StringIO


def drawn(samples: Sequence[Sample], view: View | None = None, size: tuple[int, int] = (110, 30)) -> list[str]:
    """Return the lines of the screen."""
    console = Console(file=StringIO(), width=size[0], height=size[1], color_system=None)
    lines, _ = frame(console, samples, view or View(), size, 100.0)

    assert size[1] == len(lines)
    assert {True} == {sum(segment.cell_length for segment in line) <= size[0] for line in lines}
    return ["".join(segment.text for segment in line).rstrip() for line in lines]


def opened(samples: Sequence[Sample]) -> View:
    """Return the view in which the first pool is open."""
    return pressed(View(), "enter", rows_of(samples, View()))


@pytest.mark.parametrize(
    "line",
    [
        "orders: leak   12:04:31 UTC",
        "4/4 \N{BLACK SQUARE}\N{BLACK SQUARE}",
        "Connections are held by code that has ended without returning them. 4 of 4 connections are used, 14 callers",
        "DO  Return the connection on every path:",
        "used 4 of 4, 14 waiting (longest 1.9 s), oldest use 2.1 s; last 45 s: wait p50 < 1 ms, p99 821 ms, 6",
        "HELD: 4 connections",
        "  4 x POST /exports  2.1 s at most, ended, in a transaction, lost",
        "      taken at orders/export.py:88 in export_rows < orders/api.py:41 in post_export",
        "      owner AnyIO worker thread   server pid 8123, 8124, 8125, 8126   process 4711",
        "WAITING: 14 callers",
        "  14 x GET /orders/{id}  1.9 s at most",
    ],
)
def test_once(line: str) -> None:
    """`--once` prints the table, and all that is known of the pools in trouble."""
    assert line in printed(once([sample(leak())], View(), 110, 100.0))


def test_one_process_of_several_is_exhausted() -> None:
    """The pool is in trouble, and its lines say in how many processes."""
    of = replace(pool(used=17, most=30, pending=3, exhausted_in=("a",)), config=PoolConfig(30, processes=2))
    text = " ".join(printed(once([sample(Incident(Snapshot((of,))))], View(), 110, 100.0)).split())

    assert "orders: in trouble" in text
    assert "In 1 of 2 processes every connection of the pool is used and callers wait;" in text
    assert "saturated 0 ms in 2 processes together" in text


def test_once_leaves_out_what_is_quiet() -> None:
    """A pool without trouble has its row only."""
    text = printed(once([sample(two_services())], View(), 110, 100.0))

    assert 1 == text.count("(service billing)")
    assert 1 == text.count("DO  ") == text.count("HELD:")


def test_without_access_the_line_says_how() -> None:
    """Where a server shows no holders, the open pool says what to do to see them."""
    said = Sample("a", leak().status(shows_holders=False), "", 100.0)
    text = "\n".join(drawn([said], opened([said])))

    assert "--web.enable-diagnosis" in text
    assert "POST" not in text


def test_pool_that_no_living_process_has() -> None:
    """A pool of which all processes have ended is no quiet pool without a limit."""
    ended = Incident(Snapshot((replace(pool(), config=PoolConfig()),)))
    lines = drawn([sample(ended)])

    assert lines[0].startswith("1 pool, and no living process has it")
    assert ["orders", "ended", "\N{EN DASH}"] == lines[3].split()[1:4]


def test_processes_that_do_not_run() -> None:
    """A frozen and an ended process are above the pools."""
    lines = drawn([sample(frozen())])

    assert "No pool in trouble, 1 frozen process   12:04:31 UTC" == lines[0]
    assert "! process 4712, service checkout: frozen, last heartbeat 42.0 s ago, holds 2 connections" == lines[1]
    assert "! process 4713, service checkout: crashed 2 min ago, held 1 connection" == lines[2]


def test_faults_of_a_sidecars_directory() -> None:
    """Each is a line above the pools, once, however many sources have it."""
    found = sample(leak())
    assert found.status is not None
    faulty = replace(found, status=replace(found.status, faults={"nearly_full": "the volume of /p is nearly full"}))
    lines = drawn([faulty, replace(faulty, source="http://b/")])

    assert ["! the volume of /p is nearly full"] == [line.strip() for line in lines if "volume" in line]


def test_many_processes_that_do_not_run() -> None:
    """Of many such processes some are shown, so that the pools stay in sight."""
    reports = [ProcessReport(pid, state="frozen") for pid in range(50)]
    lines = drawn([sample(Incident(frozen().snapshot, tuple(reports)))])

    assert "! and 46 more" in lines


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([Sample("a")], ["Reading ..."]),
        ([Sample("a", None, "no answer: refused")], ["No answer", "! a: no answer: refused"]),
        ([sample(leak(), fault="gone", at=70.0)], ["! http://a/: gone; below is what it said 30.0 s ago"]),
        ([sample(leak(), at=90.0)], ["! http://a/: no answer for 10.0 s"]),
        ([sample(leak()), sample(leak(), "http://b/")], ["2 of 2 pools in trouble   12:04:31 UTC"]),
        ([sample(leak()), Sample("b", Status(1.0), "", 100.0)], ["1 of 1 pool in trouble   12:04:31 UTC"]),
    ],
)
def test_sources(samples: list[Sample], expected: list[str]) -> None:
    """A source without an answer says so, and its last state stays with its age."""
    assert expected == [line for line in drawn(samples) if line in expected]


def test_sources_are_named_where_there_are_several() -> None:
    """Pools of two sources have the name of their source."""
    lines = drawn([sample(leak(), "http://first/"), sample(leak(), "http://second/")], size=(180, 10))

    assert ["http://first/", "http://second/"] == sorted(
        word for line in lines for word in line.split() if word.startswith("http")
    )


@pytest.mark.parametrize("size", [(200, 50), (80, 24), (60, 12), (40, 5), (20, 2), (1, 1)])
@pytest.mark.parametrize("keys", [[], ["enter"], ["?"], ["G"], ["G", "enter", "G"]], ids="-".join)
@pytest.mark.parametrize("name", INCIDENTS)
def test_any_size(name: str, keys: list[str], size: tuple[int, int]) -> None:
    """Whatever the size of the terminal and the keys, the screen has exactly its lines, and none is wider."""
    samples, view = [sample(INCIDENTS[name]())], View()
    for key in keys:
        view = pressed(view, key, rows_of(samples, view))

    assert drawn(samples, view, size)


def test_chosen_pool_is_in_sight() -> None:
    """However far down the chosen pool is, its row is on the screen, with a mark that needs no colour."""
    samples = [sample(many())]
    view = pressed(View(), "G", rows_of(samples, View()))
    [marked] = [line for line in drawn(samples, view, (100, 12)) if line.startswith(">")]

    assert marked.startswith("> tenant-297")


def test_scrolling_ends_at_the_last_line() -> None:
    """Scrolled too far, the screen ends with the last line, and one key goes back one line."""
    samples = [sample(leak())]
    console = Console(file=StringIO(), width=80, height=12)
    lines, scroll = frame(console, samples, replace(opened(samples), scroll=999), (80, 12), 100.0)

    assert 0 < scroll < 999
    assert "process 4711" in "".join(segment.text for segment in lines[-2])


def test_open_pool_that_is_gone() -> None:
    """When the open pool goes, no other pool is shown in its place."""
    view = opened([sample(leak())])
    other = Sample("http://a/", Status(1.0, pools=(PoolStatus(PoolIdentity("other")),)), "", 100.0)
    text = "\n".join(drawn([other], view))

    assert "This pool is gone" in text
    assert "other" not in text.splitlines()[2]


def test_texts_of_others_do_not_control_the_terminal() -> None:
    """No control character of a name, a place or a fault reaches the terminal."""
    evil = "\x1b]0;owned\x07\x9b2J\n\r\x00"
    group = HolderGroup(1, 1.0, evil, evil, evil, activities={evil: 1}, owners=(evil,))
    pool = PoolStatus(replace(ORDERS, name=evil), "trouble", evil, holders=(group,))
    samples = [Sample(evil, Status(1.0, shows_holders=True, pools=(pool,)), evil, 100.0)]
    lines = [*drawn(samples), *drawn(samples, opened(samples))]
    text = printed(once(samples, View(), 110, 100.0))

    assert {True} == {line.isprintable() for line in [*lines, *text.splitlines()]}
    assert "owned" in text


def test_markup_is_text() -> None:
    """What looks like the markup of rich is shown as it is."""
    pool = PoolStatus(replace(ORDERS, name="[bold]x[/bold]"), "trouble")

    assert "[bold]x[/bold]" in printed(once([Sample("a", Status(1.0, pools=(pool,)), "", 100.0)], View(), 110, 100.0))
