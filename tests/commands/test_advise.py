"""`pool-exporter advise` prints what `advice` computes: for people as a table with reasons, for programs as JSON."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pool_exporter.advice.observation import Observation, PoolKey
from pool_exporter.advice.traffic import Totals
from pool_exporter.arguments import problems_of
from pool_exporter.commands import advise
from pool_exporter.commands.loads.busiest_hour import duration
from pool_exporter.commands.loads.two_looks import NamedLoad, loads_between, names_of
from pool_exporter.errors import SettingsError
from pool_exporter.metrics.pool_metrics import BUCKETS

KEYS = {
    *("pool", "arrival_rate", "mean_use_seconds", "offered_load", "size_now", "size_recommended"),
    *("wait_p99_seconds_now", "wait_p99_seconds_recommended", "binding", "reason"),
}


def observed(uses: int, limit: int | None = 20) -> Observation:
    """Return four workers' pools of five, of which that many uses of 50 ms have ended."""
    buckets = tuple(uses if index == 8 else 0 for index in range(BUCKETS))
    return Observation(Totals(uses, 0, uses * 0.05, buckets, uses * 0.05), limit, limit and 5)


def loads(before: Mapping[PoolKey, Observation], after: Mapping[PoolKey, Observation]) -> list[NamedLoad]:
    """Return the loads of ten seconds between two looks."""
    looks = iter((before, after))
    return loads_between(lambda: next(looks), 10, lambda seconds: seconds)


def run(capsys: pytest.CaptureFixture[str], found: list[NamedLoad], *arguments: str) -> str:
    """Return what the command prints for these loads."""
    parser = argparse.ArgumentParser()
    advise.add_arguments(parser)
    advise._run(parser.parse_args(arguments), lambda: found)
    return capsys.readouterr().out


BUSY = loads({("orders",): observed(0)}, {("orders",): observed(4000)})


def test_json_has_the_documented_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """Each pool has every key; 100 callers a second in each of four workers with 50 ms are 5 Erlangs."""
    (pool,) = json.loads(run(capsys, BUSY, "--json"))["pools"]

    assert pool.keys() >= KEYS
    assert ("orders", 100.0, 0.05, 5.0, 5) == (
        pool["pool"],
        pool["arrival_rate"],
        pool["mean_use_seconds"],
        pool["offered_load"],
        pool["size_now"],
    )
    assert pool["wait_p99_seconds_now"] is None, "a queue that grows for ever has no wait, and JSON no infinity"
    assert 7 == pool["size_recommended"]


def test_table_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a pool, then why, and the rule of thumb beside it."""
    text = run(capsys, BUSY)
    heading, row, *rest = text.splitlines()

    assert heading.split() == ["POOL", "CALLERS/s", "MEAN", "USE", "LOAD", "SIZE", "ADVISED", "p99", "WAIT", "ADVISED"]
    assert row.split()[:6] == ["orders", "100.0", "50", "ms", "5.00", "5"]
    assert "endless" in row
    assert any("rule of thumb for medium load: pool_size 10 to 20" in line for line in rest)


def test_fleet(capsys: pytest.CaptureFixture[str]) -> None:
    """With --max-connections it says whether all workers' pools of the advised size fit; workers are counted."""
    text = run(capsys, BUSY, "--max-connections=100", "--replicas=6")
    fleet = json.loads(run(capsys, BUSY, "--json", "--max-connections=100", "--replicas=6"))["fleet"]

    assert "Server: 6 replicas x 4 workers x 7 connections = 168 do not fit 87" in text
    assert (24, False, {"orders": 3}) == (fleet["processes"], fleet["fits"], fleet["shares"])


def test_a_pool_that_was_made_or_restarted_in_the_window(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither has a size, and the reason says why; the others have one."""
    found = loads({("b",): observed(50)}, {("a",): observed(10), ("b",): observed(10)})
    text = run(capsys, found)

    assert "a: it was made within the window" in text
    assert "b: its counters have fallen" in text
    assert [None, None] == [pool["size_recommended"] for pool in json.loads(run(capsys, found, "--json"))["pools"]]


def test_no_pool(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a pool it says so."""
    assert "No pool was found.\n" == run(capsys, [])


def test_pools_of_one_name_have_their_differences_named() -> None:
    """By the labels in which they differ, and no others."""
    keys = [("orders", "mysql", "shop"), ("orders", "mysql", ""), ("users", "mysql", "shop")]

    assert ["orders shop", "orders -", "users"] == list(names_of(keys).values())


@pytest.mark.parametrize(("text", "seconds"), [("7d", 604_800), ("90m", 5400), ("1h30m", 5400), ("45s", 45)])
def test_durations(text: str, seconds: int) -> None:
    """As Prometheus writes them."""
    assert seconds == duration(text)


@pytest.mark.parametrize("text", ["", "7", "d", "7 d", "0d", "-1h", "1y"])
def test_wrong_durations(text: str) -> None:
    """The message says what one looks like."""
    parser = argparse.ArgumentParser()
    advise.add_arguments(parser)
    (problem,) = problems_of(parser.parse_args([f"--range={text}"]))

    assert f"--range={text!r}: must be a duration such as 7d, 12h or 90m" == str(problem)


def test_one_source(tmp_path: Path) -> None:
    """Two sources are refused, and none at all."""
    parser = argparse.ArgumentParser()
    advise.add_arguments(parser)
    with pytest.raises(SettingsError, match="--url: cannot be used with --dir: name one source"):
        advise.prepare(parser.parse_args(["--dir", str(tmp_path), "--url", "http://x"]), {})
    with pytest.raises(SettingsError, match="--dir: is needed, or POOL_EXPORTER_DIR, --url or --prometheus"):
        advise.prepare(parser.parse_args([]), {})


def test_progress_only_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file gets no line of progress; a terminal has one in the place of the one before."""
    advise._progress("counting")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    advise._progress("counting")

    assert "\r\033[Kcounting" == capsys.readouterr().err
