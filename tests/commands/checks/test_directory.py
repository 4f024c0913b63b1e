"""`pool-exporter check --dir` finds what worker files say, and names the rules for which they have no facts."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, NullPool, QueuePool, StaticPool, create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from pool_exporter.advice.checks.facts import ServerFacts
from pool_exporter.advice.checks.rules import RULES
from pool_exporter.cli import main
from pool_exporter.commands.checks.servers import ReadServer, Targets
from pool_exporter.hooks.pool_description import config_of, identity_of
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state import layout
from pool_exporter.state.layout import SECOND, Slots
from pool_exporter.workers.file_writer import WorkerFiles

PASSWORD = "hunter2"
URL = f"postgresql+psycopg://app:{PASSWORD}@db.internal/shop"
RIGHT = {"pool_pre_ping": True, "pool_timeout": 5}
OF_THE_APPLICATION = {"P09", "P20", "P22", "P23"}
"""The rules that no file of a right pool of psycopg decides, and that neither a server nor a number does."""

AddWorker = Callable[..., list[Slots]]


@pytest.fixture(name="add_worker")
def _add_worker(tmp_path: Path) -> Iterator[AddWorker]:
    """A function that adds a living worker with the pools of engines by their names, which does nothing."""
    workers: list[WorkerFiles] = []

    def add(version: str = "1.2.3", **engines: Engine) -> list[Slots]:
        files = WorkerFiles(tmp_path, version)
        workers.append(files)
        return [_allocated(files, identity_of(each, each.pool, name), each) for name, each in engines.items()]

    yield add
    for each in workers:
        each.unmap()


def _allocated(files: WorkerFiles, identity: PoolIdentity, engine: Engine) -> Slots:
    slots = files.allocate(identity, config_of(engine.pool))
    assert slots is not None
    slots[layout.ORIGIN] = time.monotonic_ns() - 100 * SECOND
    return slots


@pytest.fixture(name="run")
def _run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """A function that runs the command and returns exit code and output."""

    def run(*arguments: str) -> tuple[int, str]:
        try:
            code = main(["check", f"--dir={tmp_path}", *arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


Run = Callable[..., tuple[int, str]]


def found(run: Run, *arguments: str) -> tuple[set[str], set[str]]:
    """Return the ids of what is found and of what is not checked."""
    answer: dict[str, Any] = json.loads(run("--json", *arguments)[1])
    return {each["id"] for each in answer["findings"]}, {each["id"] for each in answer["not_checked"]}


def test_a_right_pool(add_worker: AddWorker, run: Run) -> None:
    """Nothing is found, and what the files cannot say is named with what says it; the exit code is 0."""
    for _ in range(3):
        add_worker(orders=create_engine(URL, **RIGHT))
    code, text = run()
    lines = text.splitlines()

    assert 0 == code
    assert lines[0].startswith("orders: QueuePool, dialect postgresql, driver psycopg, pool_size 5, max_overflow 10, ")
    assert lines[0].endswith("; 3 workers of pool_exporter 1.2.3")
    assert "orders: nothing was found." == lines[1]
    assert "  Not checked: P01, P21, which need the server: --database-url." == lines[2]
    assert lines[3].startswith("  Not checked: P09, P20, P22, P23, which need the application: pool-exporter check MOD")
    assert 4 == len(lines)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: create_engine(URL), {"P04", "P12"}),
        (lambda: create_engine(URL, max_overflow=-1, **RIGHT), {"P02"}),
        (lambda: create_engine("mysql+pymysql://db.internal/shop", pool_timeout=5), {"P13"}),
        (lambda: create_engine("mysql+pymysql://db.internal/shop", pool_timeout=5, pool_recycle=3600), set()),
        (lambda: create_engine("sqlite:///a.db", poolclass=StaticPool), {"P16"}),
        (lambda: create_engine(URL, poolclass=StaticPool), {"P11"}),
        (lambda: create_engine("sqlite:///a.db"), {"P14"}),
        (lambda: create_engine("sqlite:///a.db", poolclass=NullPool), set()),
        (lambda: create_engine("sqlite://"), {"P15"}),
    ],
)
def test_settings_of_files(add_worker: AddWorker, run: Run, make: Callable[[], Engine], expected: set[str]) -> None:
    """The rules about settings find in files what they find in engines; here two workers have the pool."""
    add_worker(orders=make())
    add_worker(orders=make())

    assert expected == found(run)[0]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: create_engine(URL, **RIGHT), OF_THE_APPLICATION | {"P01", "P21"}),
        (lambda: create_engine(URL.replace("internal", "internal:6432"), **RIGHT), OF_THE_APPLICATION | {"P18"}),
        (lambda: create_engine(URL, pool_reset_on_return=None, **RIGHT), OF_THE_APPLICATION | {"P24"}),
        (lambda: create_engine("mysql+pymysql://localhost/shop", pool_recycle=9), {"P01", "P09", "P23"}),
        (lambda: create_engine("sqlite:///file:a?mode=memory&uri=true", poolclass=QueuePool), {"P09", "P14", "P23"}),
        (
            lambda: create_async_engine("postgresql+asyncpg://db.internal:6432/shop", **RIGHT).sync_engine,
            OF_THE_APPLICATION | {"P17", "P26"},
        ),
    ],
)
def test_what_is_not_checked(add_worker: AddWorker, run: Run, make: Callable[[], Engine], expected: set[str]) -> None:
    """A rule that may find something by what the files lack is named, and one that finds nothing in any case is not."""
    add_worker(orders=make())

    assert expected <= found(run)[1]
    assert "P26" in expected or "P26" not in found(run)[1]
    assert "P22" in expected or "P22" not in found(run)[1]


def test_an_error_is_exit_code_1(add_worker: AddWorker, run: Run) -> None:
    """As for an engine; silenced, it is 0, and a silenced rule is not among those that were not checked."""
    add_worker(orders=create_engine("mysql+pymysql://localhost/shop", poolclass=StaticPool))
    silenced = run("--silence=P11,P09,P23")

    assert 1 == run()[0]
    assert (0, False) == (silenced[0], "Not checked" in silenced[1])


def test_what_pools_have_done(add_worker: AddWorker, run: Run) -> None:
    """Counters of all living workers count: nested acquires, verdicts, and a peak against the given threads."""
    engine = create_engine(URL, pool_size=2, max_overflow=0, **RIGHT)
    (first,), (second,) = add_worker(orders=engine), add_worker(orders=engine)
    first[layout.NESTED] += 1
    second[layout.EXHAUSTION_AT["held_in_own_code"]] += 1
    second[layout.USED_PEAK] = 2

    assert {"P31", "P32"} == found(run)[0]


def test_connections_that_ended_workers_left_open(add_worker: AddWorker, run: Run, tmp_path: Path) -> None:
    """Those of workers that have ended count too, as long as one is living; a pool of another name has none."""
    engine = create_engine(URL, **RIGHT)
    add_worker(orders=engine, users=engine)
    ended = WorkerFiles(tmp_path, "1.2.3")
    slots = _allocated(ended, identity_of(engine, engine.pool, "orders"), engine)
    slots[layout.CONNECTS] = slots[layout.CLOSE_AT["discarded"]] = 3
    ended.mark_ended()
    ended.unmap()
    answer = run("--silence=P08")[1]

    assert 1 == answer.count("info P33")
    assert "info P33: 3 connections ended that no code has closed." in answer.partition("\nusers: ")[0]


def test_threads(add_worker: AddWorker, run: Run) -> None:
    """More threads than connections are found where all were used; without their number the rule is not checked."""
    (slots,) = add_worker(orders=create_engine(URL, pool_size=1, max_overflow=0, **RIGHT))
    slots[layout.OPEN_COUNT] = slots[layout.CHECKOUT_TIMES] = 1

    assert "P05" in found(run)[1]
    assert ({"P05"}, False) == (found(run, "--threads=4")[0], "P05" in found(run, "--threads=4")[1])
    assert ("P05" in found(run, "--threads=1")[0], "P05" in found(run, "--threads=1")[1]) == (False, False)


def test_two_pools_of_one_server(add_worker: AddWorker, run: Run) -> None:
    """Pools of one process with one server and database are found; those of two processes are not."""
    engine = create_engine(URL, **RIGHT)
    add_worker(orders=engine)
    add_worker(users=engine)
    before = found(run)[0]
    add_worker(orders=engine, users=engine)

    assert (set(), {"P08"}) == (before, found(run)[0])


def test_two_configurations_of_one_pool(add_worker: AddWorker, run: Run) -> None:
    """During a rollout each configuration is judged by itself, and named by what differs."""
    add_worker("1.2.3", orders=create_engine(URL, **RIGHT))
    add_worker("1.2.4", orders=create_engine(URL, max_overflow=-1, **RIGHT))
    text = run()[1]

    assert "orders -1: 1 warning." in text
    assert "orders 10: nothing was found." in text
    assert "1 worker of pool_exporter 1.2.4" in text


def test_settings_that_did_not_fit(tmp_path: Path, run: Run) -> None:
    """An entry without settings has no finding, and every rule is named as not checked."""
    files = WorkerFiles(tmp_path, "1")
    files.allocate(PoolIdentity("orders", "postgresql"), PoolConfig(5, 5))
    ids = {rule.id for rule in RULES}

    assert (set(), ids) == found(run)
    assert "its settings are not in the file" in run()[1]
    files.unmap()


@pytest.fixture(name="said")
def _said(monkeypatch: pytest.MonkeyPatch) -> dict[str, ServerFacts]:
    """What the servers of `--database-url` say, by host, without any server."""
    said: dict[str, ServerFacts] = {}

    def read(targets: Targets, _: float) -> tuple[ReadServer, ...]:
        return tuple(ReadServer(each.identity, said[each.identity.address]) for each in targets)

    monkeypatch.setattr("pool_exporter.commands.check.read_servers", read)
    return said


def test_what_the_server_says(add_worker: AddWorker, run: Run, said: dict[str, ServerFacts]) -> None:
    """Workers are counted against its limit, and its time limits are named; nothing of it is then not checked."""
    for _ in range(3):
        add_worker(orders=create_engine(URL, **RIGHT))
    said["db.internal"] = ServerFacts(17, {"statement_timeout": 0, "idle_in_transaction_session_timeout": 60})
    arguments = f"--database-url={URL}"
    code, text = run(arguments)

    assert 1 == code
    assert "error P01: 3 processes x 15 connections are 45, and the server accepts 17." in text
    assert "warning P21: statement_timeout is 0 at the server, and whether connections set it is not known." in text
    assert ({"P01", "P21"}, OF_THE_APPLICATION) == found(run, arguments)
    assert ({"P21"}, OF_THE_APPLICATION) == found(run, arguments, "--processes=1")
    assert PASSWORD not in text


def test_the_wait_timeout_of_mysql(add_worker: AddWorker, run: Run, said: dict[str, ServerFacts]) -> None:
    """A recycle time that is below MySQL's default is above that of this server."""
    add_worker(orders=create_engine("mysql+pymysql://db.internal/shop", pool_timeout=5, pool_recycle=3600))
    said["db.internal"] = ServerFacts(150, {"wait_timeout": 600})

    assert {"P13"} == found(run, "--database-url=mysql://db.internal/shop")[0]


def test_a_pool_behind_pgbouncer(add_worker: AddWorker, run: Run, said: dict[str, ServerFacts]) -> None:
    """A server to which no pool leads is that behind the PgBouncer to which one does; both count."""
    add_worker(orders=create_engine(URL.replace("db.internal", "bouncer:6432"), **RIGHT))
    said["bouncer"] = ServerFacts(1000, {"max_prepared_statements": 0}, is_bouncer=True, pool_mode="transaction")
    said["db"] = ServerFacts(10, {"statement_timeout": 0})
    urls = ["--database-url=postgresql://me@bouncer:6432/pgbouncer", "--database-url=postgresql://me@db/shop"]

    assert {"P01"} == found(run, *urls)[0]
    assert "P18" in found(run, *urls)[1]


def test_a_server_of_no_pool(add_worker: AddWorker, run: Run, said: dict[str, ServerFacts]) -> None:
    """It is refused with the servers of the pools; an alias in the URL says that it is one of these."""
    add_worker(orders=create_engine(URL, **RIGHT))
    said["localhost"] = ServerFacts(17)
    url = f"--database-url=postgresql://me:{PASSWORD}@localhost/shop"
    code, text = run(url)

    assert 2 == code
    assert "no pool connects to it; the pools connect to db.internal:5432; if it is the same, add ?pool_ex" in text
    assert PASSWORD not in text
    assert "P01" not in found(run, f"{url}?pool_exporter_alias=db.internal:5432")[1]


def test_wrong_directories(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory without a living pool is no pass: one line, and exit code 2; so is a second target, or none."""
    texts = [
        run()[1],
        run("app:engine")[1],
        run(f"--dir={tmp_path / 'nothing'}")[1],
    ]
    codes = {main(["check"])}
    none = capsys.readouterr().err

    assert {2} == codes
    assert [f"--dir='{tmp_path}': has no pool of a living worker" in texts[0], 1] == [True, texts[0].count("\n")]
    assert "--dir: cannot be used with MODULE:ENGINE: name one of them" in texts[1]
    assert "cannot be read: No such file or directory" in texts[2]
    assert "--dir: is needed, or POOL_EXPORTER_DIR, MODULE:ENGINE" in none


def test_the_json_of_a_pool(add_worker: AddWorker, run: Run) -> None:
    """Each finding and each rule that is not checked names its pool, and each pool has what was judged."""
    add_worker(orders=create_engine(URL, max_overflow=-1, **RIGHT))
    answer = json.loads(run("--json")[1])
    (finding,), (pool,) = answer["findings"], answer["pools"]

    assert {"pool", "id", "severity", "message", "fix", "source"} == set(finding)
    assert {"pool": "orders", "id": "P20", "needs": ["arguments"]} in answer["not_checked"]
    assert ("orders", 1, ["1.2.3"], "-1") == (
        pool["pool"],
        pool["workers"],
        pool["versions"],
        pool["settings"]["max_overflow"],
    )


def test_name_changes_no_terminal(run: Run, add_worker: AddWorker) -> None:
    """A pool's name may be in a file that any worker has written."""
    engine = create_engine(URL)
    add_worker(**{"\x1b[2J\r": engine})
    code, text = run()
    engine.dispose()

    assert (0, []) == (code, [line for line in text.split("\n") if not line.isprintable()])
