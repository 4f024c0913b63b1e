"""The dump: what a directory holds, living and ended workers, with the keys of docs/reference/dump.md."""

import json
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pool_exporter.commands import dump as command_module
from pool_exporter.commands.dump import NUMBERS, SCHEMA
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state import layout
from pool_exporter.state.checkout_details import write_owner
from pool_exporter.workers.compaction import Compactor
from pool_exporter.workers.file_reader import scan
from pool_exporter.workers.file_writer import WorkerFiles
from tests.fixtures.deadlines import until
from tests.fixtures.sidecar import command, sidecar, worker
from tests.workers.reports.test_directory_reports import HOLDER, WAITER, Worker

DOCS = Path(__file__).parents[2] / "docs/reference/dump.md"

OPEN_OBJECTS = ("identity", "labels", "ended", "numbers")
"""Objects with keys that come from the data."""


@pytest.fixture(name="directory")
def _directory(tmp_path: Path) -> Path:
    directory = tmp_path / "shared"
    directory.mkdir()
    return directory


def dump(directory: Path) -> dict[str, Any]:
    """Return a dump as a script reads it, from JSON."""
    return dict(json.loads(json.dumps(command_module.dump(directory), allow_nan=False)))


def one(dumped: dict[str, Any]) -> dict[str, Any]:
    """Return the only process of a dump."""
    [process] = dumped["processes"]
    return dict(process)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of each leaf of a dump."""
    if isinstance(value, dict) and path.rpartition(".")[2] not in OPEN_OBJECTS:
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, f"{path}[]")
    else:
        yield path, value


def documented() -> dict[str, str]:
    """Return the documented keys and their types."""
    table = DOCS.read_text().partition("## `numbers`")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| ([a-z ]+) \|", table, re.MULTILINE))


def full(directory: Path) -> dict[str, Any]:
    """Return a dump that has something of everything."""
    with worker(directory) as dead:
        dead.kill()
    Compactor(directory).compact(scan(directory))
    (directory / "w-nonsense.pool").write_text("nonsense")
    with worker(directory):
        return dump(directory)


def test_live_worker(directory: Path) -> None:
    """A living worker is shown with its pool, its checkouts with their owners, and its waiters."""
    with worker(directory) as running:
        process = one(dump(directory))
        [pool] = process["pools"]
        [checkout] = pool["checkouts"]
        inherited, opened = pool["idle_connections"]

        assert (running.pid, "living", "1.2.3") == (process["pid"], process["state"], process["version"])

    assert ("orders", "checkout") == (
        pool["identity"]["db_client_connection_pool_name"],
        pool["identity"]["service_name"],
    )
    assert (15, 5, {"pool_class": "QueuePool"}) == tuple(pool["config"].values())
    assert (1, 2, 2, 7) == tuple(pool["numbers"][name] for name in ("used", "idle", "pending", "connects"))
    assert (4711, "Task-17") == (checkout["server_pid"], checkout["owner"])
    assert {"server_pid": 4712, "age_seconds": None} == inherited
    assert {"server_pid": 4713, "age_seconds": checkout["age_seconds"]} == opened
    assert 0 < checkout["age_seconds"] < 60
    assert checkout["age_seconds"] == pytest.approx(pool["numbers"]["oldest_use_seconds"])
    assert [checkout["age_seconds"]] * 2 == [waiter["age_seconds"] for waiter in pool["waiters"]]
    assert (0, 0, True, None) == (
        pool["further_checkouts"],
        pool["further_waiters"],
        pool["is_open"],
        pool["fault"],
    )


def test_frozen_worker(directory: Path) -> None:
    """A worker that has been stopped for five seconds is frozen, and the ages of what it holds grow."""
    with worker(directory) as running:
        running.process.send_signal(signal.SIGSTOP)
        first = one(dump(directory))
        until("frozen", lambda: one(dump(directory))["state"])
        then = one(dump(directory))
        running.process.send_signal(signal.SIGCONT)

    ages = [process["pools"][0]["checkouts"][0]["age_seconds"] for process in (first, then)]
    beats = [process["heartbeat_age_seconds"] for process in (first, then)]

    assert "living" == first["state"]
    assert beats[1] > 5
    assert ages[1] - ages[0] == pytest.approx(beats[1] - beats[0])


def test_crashed_worker_is_as_it_was(directory: Path) -> None:
    """A killed worker is shown as of its last heartbeat; only the age of the heartbeat grows."""
    with worker(directory) as running:
        running.beat()
        running.kill()
        first, then = one(dump(directory)), one(dump(directory))

    assert ("crashed", 1) == (first["state"], len(first["pools"][0]["checkouts"]))
    assert first["pools"] == then["pools"]
    assert first["heartbeat_age_seconds"] < then["heartbeat_age_seconds"]


def test_owner_is_cut_between_characters(tmp_path: Path) -> None:
    """An owner's name that is too long is cut, and no half of a character is left."""
    worker = WorkerFiles(tmp_path, "1.2.3")
    slots = worker.allocate(PoolIdentity("orders"), PoolConfig())
    assert slots is not None
    slots[layout.OPEN_COUNT] = slots[layout.CHECKOUT_TIMES] = 1
    write_owner(slots, layout.CHECKOUT_TIMES, "Thread-äöüäöü")
    [checkout] = one(dump(tmp_path))["pools"][0]["checkouts"]

    assert "Thread-äöüä" == checkout["owner"]


def test_names_of_holders_and_waiters(directory: Path) -> None:
    """Places, units, whole owners' names and the last verdict are those that the worker has written."""
    worker = Worker(directory)
    worker.hold()
    worker.slots[layout.PENDING_TIMES] = 2 * layout.SECOND
    waiter = replace(WAITER, seconds=7.0)
    worker.write(replace(HOLDER, seconds=8.0, owner="a-name-of-a-thread"), waiters=(waiter,), verdict="leak")
    [pool] = one(dump(directory))["pools"]
    worker.files.unmap()
    [checkout], [waits] = pool["checkouts"], pool["waiters"]

    assert ("a-name-of-a-thread", HOLDER.place, HOLDER.unit, HOLDER.unit_code) == tuple(
        checkout[key] for key in ("owner", "place", "unit", "unit_code")
    )
    assert (WAITER.owner, WAITER.place, WAITER.unit, 1) == tuple(
        waits[key] for key in ("owner", "place", "unit", "holds")
    )
    assert ("leak", "1970-01-01T00:00:05+00:00") == (pool["verdict"], pool["verdict_time"])


def test_stopped_worker(directory: Path) -> None:
    """A worker that ended in order differs from one that was killed."""
    with worker(directory) as running:
        running.stop()

    assert "stopped" == one(dump(directory))["state"]


def test_dumping_changes_nothing(directory: Path) -> None:
    """No file is compacted, made or removed."""
    with worker(directory) as running:
        running.kill()
    before = sorted((path.name, path.stat().st_mtime_ns) for path in directory.iterdir())
    dump(directory)

    assert before == sorted((path.name, path.stat().st_mtime_ns) for path in directory.iterdir())


def test_compacted_worker_is_in_the_totals(directory: Path) -> None:
    """What a sidecar has compacted is in the totals, and nowhere else."""
    with worker(directory) as running:
        running.kill()
    with sidecar(directory) as serving:
        serving.ask()
        dumped = dump(directory)
    [pool] = dumped["totals"]["pools"]

    assert ([], 1, {"crashed": 1}) == (
        dumped["processes"],
        dumped["totals"]["compacted_files"],
        dumped["totals"]["ended"],
    )
    assert (7, 0, "orders") == (
        pool["numbers"]["connects"],
        pool["numbers"]["used"],
        pool["identity"]["db_client_connection_pool_name"],
    )


def test_folded_file_that_is_still_there_is_not_shown_twice(directory: Path) -> None:
    """A file that was compacted and not yet unlinked counts in the totals alone."""
    with worker(directory) as running:
        running.kill()
    [path] = directory.glob("w-*.pool")
    content = path.read_bytes()
    Compactor(directory).compact(scan(directory))
    path.write_bytes(content)

    assert [] == dump(directory)["processes"]


def test_what_is_set_aside(directory: Path) -> None:
    """A damaged file is named with its reason; damaged totals have a fault."""
    (directory / "w-a.pool").write_text("nonsense")
    (directory / "acc.json").write_text("nonsense")
    dumped = dump(directory)

    assert [
        {"path": f"{directory}/w-a.pool", "reason": "irregular", "fault": "it has 8 bytes, too few for a worker file"}
    ] == (dumped["set_aside"])
    assert dumped["totals"]["fault"].startswith("it does not hold totals")


def test_pool_with_impossible_numbers_says_so(directory: Path) -> None:
    """A pool with invalid slots has a fault instead of numbers; the other pools are shown."""
    with worker(directory, "good"), worker(directory, "bad") as running:
        [path] = [path for path in directory.glob("w-*.pool") if b"bad" in path.read_bytes()]
        content = bytearray(path.read_bytes())
        at = content.index(b'{"identity":["bad"') - 16 + 1024 + 8 * layout.UNTRACKED_PENDING_SINCE
        content[at : at + 8] = (2**60).to_bytes(8, "little")
        with path.open("r+b") as file:
            file.write(content)
        pools = {each["pools"][0]["fault"]: each["pools"][0]["numbers"] for each in dump(directory)["processes"]}
        running.kill()

    [fault] = pools.keys() - {None}

    assert fault.startswith("PoolSnapshot of 'bad': pending_seconds must be finite and not negative")
    assert (None, 7) == (pools[fault], pools[None]["connects"])


# Its keys.


def test_every_key_is_documented(directory: Path) -> None:
    """docs/reference/dump.md lists the keys that there are, no more and no less."""
    assert set(documented()) == {path for path, _ in leaves(full(directory))}


def test_types_are_as_documented(directory: Path) -> None:
    """Each key has a value of its documented type."""
    kinds = {str: "text", bool: "flag", int: "number", float: "number", dict: "object", type(None): "null"}
    types = documented()
    wrong = [
        (path, kinds[type(value)])
        for path, value in leaves(full(directory))
        if kinds[type(value)] not in types[path].split(" or ")
    ]

    assert [] == wrong


def test_numbers_are_documented() -> None:
    """The second table has every number, no more and no less."""
    table = DOCS.read_text().partition("## `numbers`")[2]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]

    assert set(NUMBERS) == {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert f"version of these keys: {SCHEMA} " in DOCS.read_text()


# The command.


def test_command_prints_json(directory: Path) -> None:
    """The command prints one JSON object, also of an empty directory."""
    done = command("dump", "--dir", directory)

    assert (0, "") == (done.returncode, done.stderr)
    assert ([], []) == (json.loads(done.stdout)["processes"], json.loads(done.stdout)["set_aside"])


def test_missing_directory_is_one_line(tmp_path: Path) -> None:
    """A directory that cannot be read is one line, and exit code 2."""
    done = command("dump", "--dir", tmp_path / "missing")

    assert (2, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert f"--dir='{tmp_path}/missing': cannot be read: No such file or directory" in done.stderr


def test_no_secret(directory: Path) -> None:
    """What the environment of the workers holds is not in a dump."""
    os.environ["DATABASE_URL"] = "postgresql://user:hunter2@db/shop"
    try:
        with worker(directory):
            text = json.dumps(dump(directory))
    finally:
        del os.environ["DATABASE_URL"]

    assert "hunter2" not in text
