"""`pool-exporter advise` prints what `advice` computes: for people as a table with reasons, for programs as JSON."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pool_exporter.advice.checks.facts import ServerFacts
from pool_exporter.advice.loads.named_load import NamedLoad, names_of
from pool_exporter.advice.observation import Observation, PoolKey
from pool_exporter.advice.traffic import Totals
from pool_exporter.arguments import problems_of
from pool_exporter.commands import advise, server_grant
from pool_exporter.commands.advice_answer import KEYS
from pool_exporter.commands.checks.servers import ReadServer, Targets
from pool_exporter.commands.loads.two_looks import loads_between
from pool_exporter.commands.server_grant import grant_of
from pool_exporter.errors import SettingsError
from pool_exporter.metrics.pool_metrics import BUCKETS
from pool_exporter.probe.options import targets_from_arguments

DOCUMENTED = {
    *("pool", "arrival_rate", "mean_use_seconds", "offered_load", "size_now", "size_recommended"),
    *("wait_p99_seconds_now", "wait_p99_seconds_recommended", "binding", "reason"),
}
"""The keys of docs/how-to/size-pools.md."""


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
    parsed = parser.parse_args(arguments)
    advise._run(parsed, lambda: found, grant_of(parsed, targets_from_arguments(parsed, {})))
    return capsys.readouterr().out


BUSY = loads({("orders",): observed(0)}, {("orders",): observed(4000)})


def test_json_has_the_documented_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """Each pool has every key; 100 callers a second in each of four workers with 50 ms are 5 Erlangs."""
    (pool,) = json.loads(run(capsys, BUSY, "--json"))["pools"]

    assert set(KEYS) == DOCUMENTED
    assert DOCUMENTED | {"notes", "rule_of_thumb"} == set(pool)
    assert ("orders", 100.0, 0.05, 5.0, 5) == (
        pool["pool"],
        pool["arrival_rate"],
        pool["mean_use_seconds"],
        pool["offered_load"],
        pool["size_now"],
    )
    assert pool["wait_p99_seconds_now"] is None, "a queue that grows for ever has no wait, and JSON no infinity"
    assert 7 == pool["size_recommended"]


def test_what_is_not_known_without_a_use(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no use has ended, mean use, load and waits are not 0: in an incident all callers may wait."""
    stuck = loads({("orders",): observed(0)}, {("orders",): observed(0)})
    (pool,) = json.loads(run(capsys, stuck, "--json"))["pools"]

    assert ["orders", "0.0", "-", "-", "5", "5", "-", "-"] == run(capsys, stuck).splitlines()[1].split()
    assert [None] * 4 == [
        pool[key]
        for key in ("mean_use_seconds", "offered_load", "wait_p99_seconds_now", "wait_p99_seconds_recommended")
    ]


def test_table_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a pool, then why, and the rule of thumb beside it."""
    text = run(capsys, BUSY)
    heading, row, *rest = text.splitlines()

    assert heading.split() == ["POOL", "CALLERS/s", "MEAN", "USE", "LOAD", "SIZE", "ADVISED", "p99", "WAIT", "ADVISED"]
    assert row.split()[:6] == ["orders", "100.0", "50", "ms", "5.00", "5"]
    assert "endless" in row
    assert any("rule of thumb for medium load: pool_size 10 to 20" in line for line in rest)


def test_name_changes_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A pool's name may be in a file that any worker has written."""
    text = run(capsys, loads({("\x1b[2J\r",): observed(0)}, {("\x1b[2J\r",): observed(4000)}))

    assert [] == [line for line in text.split("\n") if not line.isprintable()]


def test_fleet(capsys: pytest.CaptureFixture[str]) -> None:
    """With --max-connections it says whether all pools of the advised size fit, what binds, and what to set."""
    text = run(capsys, BUSY, "--max-connections=100", "--replicas=6")
    fleet = json.loads(run(capsys, BUSY, "--json", "--max-connections=100", "--replicas=6"))["fleet"]
    (pool,) = fleet["pools"]

    assert "Server: 6 replicas x 4 workers x 7 connections = 168 do not fit 87 (100 less 3 reserved, " in text
    assert "The server binds, not the load." in text
    assert (
        "orders: set 3 in each of 24 processes; its load needs 7, its share of the server is 3. That is less than its "
        "load: run fewer processes, or put PgBouncer in between." in text
    )
    assert (87, 168, False, "server") == (fleet["budget"], fleet["needed"], fleet["fits"], fleet["binding"])
    assert {
        "pool": "orders",
        "processes": 24,
        "size_needed": 7,
        "share": 3,
        "size_to_set": 3,
        "wait_p99_seconds": None,
    } == pool


def test_a_fleet_that_fits(capsys: pytest.CaptureFixture[str]) -> None:
    """What the load needs is set, with the wait that it has; a rollout and other applications count."""
    arguments = ("--max-connections=400", "--replicas=6", "--surge=2", "--others=10", "--reserved=13")
    text = run(capsys, BUSY, *arguments)

    assert "6 replicas and 2 of a rollout x 4 workers x 7 connections = 224 fit 339 (400 less 13 reserved, 10" in text
    assert "The load binds: the server has room for what it needs." in text
    assert "orders: set 7 in each of 32 processes; its load needs 7, its share of the server is 10. p99 wait " in text


def keyed(name: str, address: str = "db", instance: str = "") -> PoolKey:
    """Return the key of a pool on PostgreSQL, as a Prometheus has it."""
    return (name, "postgresql", "shop", address, "5432", "", "", "api", instance)


def test_instances_of_a_prometheus_are_replicas(capsys: pytest.CaptureFixture[str]) -> None:
    """The pools of one job and name are one pool of so many replicas; --replicas says another number."""
    keys = [keyed("orders", instance=f"{host}:80") for host in "ab"]
    found = loads(dict.fromkeys(keys, observed(0)), dict.fromkeys(keys, observed(4000)))
    text = run(capsys, found, "--max-connections=100")
    more = run(capsys, found, "--max-connections=100", "--replicas=3")

    assert "Server: 2 replicas x 4 workers x 7 connections = 56 fit 87" in text
    assert "Server: 3 replicas x 4 workers x 7 connections = 84 fit 87" in more


@pytest.fixture(name="says")
def _says(monkeypatch: pytest.MonkeyPatch) -> ServerFacts:
    """What the server says that `--database-url` names."""
    facts = ServerFacts(95, {"max_connections": 100.0})

    def read(targets: Targets, _: float) -> tuple[ReadServer, ...]:
        return tuple(ReadServer(each.identity, facts) for each in targets)

    monkeypatch.setattr(server_grant, "read_servers", read)
    return facts


@pytest.mark.usefixtures("says")
def test_the_server_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """With --database-url the numbers are those of the server, and only the pools count that connect to it."""
    keys = [keyed("orders"), keyed("old", "elsewhere"), keyed("new")]
    before = {key: observed(0) for key in keys[:2]}
    found = loads(before, dict.fromkeys(keys, observed(4000)))
    text = run(capsys, found, "--database-url=postgresql://me:hunter2@db/shop")
    plan = json.loads(run(capsys, found, "--json", "--database-url=postgresql://me:hunter2@db/shop"))["fleet"]

    assert "1 replica x 4 workers x 7 connections = 28 fit 85 (100 less 5 reserved, 0 of others and 10%)." in text
    assert "Not counted, because their load is not known: new." in text
    assert "On other servers: old." in text
    assert (["new"], ["old"]) == (plan["not_counted"], plan["other_servers"])
    assert "hunter2" not in text


@pytest.mark.usefixtures("says")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--database-url=postgresql://me@db/shop", "--max-connections=9"], "cannot be used with --max-connections"),
        (["--database-url=postgresql://me@a/b", "--database-url=postgresql://me@c/d"], "names one server at a time"),
        (["--database-url=postgresql://me@other/shop"], "no pool connects to it; the pools connect to db:5432; if it"),
    ],
)
def test_wrong_servers(arguments: list[str], message: str) -> None:
    """Two answers to one question are refused, and so is a server to which no pool leads."""
    parser = argparse.ArgumentParser()
    advise.add_arguments(parser)
    parsed = parser.parse_args(arguments)
    found = loads({keyed("orders"): observed(0)}, {keyed("orders"): observed(4000)})

    with pytest.raises(SettingsError, match=message):
        advise._run(parsed, lambda: found, grant_of(parsed, targets_from_arguments(parsed, {})))


def test_a_pool_that_was_made_or_restarted_in_the_window(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither has a size, and the reason says why; the others have one."""
    found = loads({("b",): observed(50)}, {("a",): observed(10), ("b",): observed(10)})
    text = run(capsys, found)

    assert "a: it was made within the window" in text
    assert "b: its counters have fallen" in text
    pools = json.loads(run(capsys, found, "--json"))["pools"]
    assert [(None, DOCUMENTED)] * 2 == [(pool["size_recommended"], set(pool)) for pool in pools]


def test_a_pool_that_no_living_process_has(capsys: pytest.CaptureFixture[str]) -> None:
    """It has no size: that is not one without a limit. If it was used within the window, its load counts."""
    before, after = replace(observed(100, None), is_ended=True), replace(observed(200, None), is_ended=True)
    ended, just_ended = loads({("old",): before, ("new",): before}, {("old",): before, ("new",): after})[::-1]
    text = run(capsys, [ended])

    assert "old: no living process has it." in text
    assert "no limit" not in text
    assert ("", True) == (just_ended.fault, just_ended.load is not None)


def test_no_pool(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a pool it says so."""
    assert "No pool was found.\n" == run(capsys, [])


def test_pools_of_one_name_have_their_differences_named() -> None:
    """By the labels in which they differ, and no others."""
    keys = [("orders", "mysql", "shop"), ("orders", "mysql", ""), ("users", "mysql", "shop")]

    assert ["orders shop", "orders -", "users"] == list(names_of(keys).values())


@pytest.mark.parametrize(("text", "seconds"), [("7d", 604_800), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("7", 7)])
def test_durations(text: str, seconds: int) -> None:
    """As Prometheus writes them; the default is a week."""
    parser = argparse.ArgumentParser()
    advise.add_arguments(parser)

    assert seconds == parser.parse_args([f"--range={text}"]).range
    assert 604_800 == parser.parse_args([]).range


@pytest.mark.parametrize("text", ["", "d", "7 d", "0d", "-1h", "1y"])
def test_wrong_durations(text: str) -> None:
    """The message says what one looks like."""
    parser = argparse.ArgumentParser()
    advise.add_arguments(parser)
    (problem,) = problems_of(parser.parse_args([f"--range={text}"]))

    assert f"--range={text!r}: must be seconds, at least 1, or a time such as 500ms, 90s or 5m" == str(problem)


def test_one_source(tmp_path: Path) -> None:
    """Two sources are refused, and none at all."""
    parser = argparse.ArgumentParser()
    advise.add_arguments(parser)
    with pytest.raises(SettingsError, match="--url: cannot be used with --dir: name one source"):
        advise.prepare(parser.parse_args(["--dir", str(tmp_path), "--url", "http://x"]), {})
    with pytest.raises(SettingsError, match="--dir: is needed, or POOL_EXPORTER_DIR, --url or --prometheus"):
        advise.prepare(parser.parse_args([]), {})
