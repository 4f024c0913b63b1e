"""The demo as a user runs it: a process, a port, scenes that /metrics shows, and nothing left behind.

One round is played for each database and scraped all the time; the tests check these pages.
"""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pool_exporter.demo.scenes import SCENES
from pool_exporter.metrics.pool_metrics import EXHAUSTION_VERDICTS
from tests.fixtures.postgres import PostgresServer

COMMAND = [
    sys.executable,
    "-c",
    "import sys; from pool_exporter.cli import main; sys.exit(main())",
    "demo",
    "--port",
    "0",
]
ROUND_SECONDS = 27
SLOW_FACTOR = 3
"""How much longer a round is played where the machine was too busy to scrape each scene often enough."""
PAGES_LEAST = 4
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 60.0
"""Far more than it takes: a busy machine says nothing about the demo. What it takes is in the demo's own limits."""

CAPACITY = 6
NUMBERS = re.compile(r" +\d+ requests +\d+ failed   used +\d")
"""The line at the end of a scene."""


class Demo:
    """A demo that runs in a process and a process group of its own, and what it has printed so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def scene(self) -> str | None:
        """The scene that is being played, None before the first and after the last."""
        begun = [line.split()[0] for line in list(self.lines) if re.match(r"\w+ +\d+ s, ", line)]
        ended = [line for line in list(self.lines) if NUMBERS.match(line)]
        return begun[-1] if len(begun) > len(ended) else None

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Return when *condition* holds; fail if the demo ends before, or takes too long."""
        end = time.monotonic() + START_SECONDS_MAX
        while not condition():
            assert self.process.poll() is None, self.errors()
            assert time.monotonic() < end, self.lines
            time.sleep(0.02)

    def url(self, path: str) -> str:
        """Return the URL of a page, as the banner has it."""
        self.wait_for(lambda: any("/metrics" in line for line in list(self.lines)))
        found = re.search(r"http://[\d.]+:\d+", "".join(self.lines))
        assert found is not None
        return found[0] + path

    def get(self, path: str) -> str:
        """Return a page."""
        with urllib.request.urlopen(self.url(path), timeout=60) as response:  # noqa: S310  # of the banner
            return str(response.read().decode())

    def metrics(self) -> "Page":
        """Scrape."""
        return Page(self.get("/metrics"))

    def stop(self, number: int) -> None:
        """Send a signal and wait until the process has ended."""
        self.process.send_signal(number)
        self.process.wait(STOP_SECONDS_MAX)
        self._reader.join(10)

    def errors(self) -> str:
        """Return what an ended demo has written to stderr."""
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def is_gone(self) -> bool:
        """Return whether no process of its group is left."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False


@contextmanager
def running(directory: Path, *arguments: str, **environ: str) -> Iterator[Demo]:
    """Run a demo with its temporary files in *directory*, and with no settings in its environment but what is given."""
    here = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment = {**here, "TMPDIR": str(directory), **environ}
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=directory,
        start_new_session=True,
    ) as process:
        try:
            yield Demo(process)
        finally:
            if process.poll() is None:
                process.kill()


class Page:
    """One scrape: the text, and its samples."""

    def __init__(self, text: str) -> None:
        self.text = text
        families = text_string_to_metric_families(text)
        self.samples = [sample for family in families for sample in family.samples]

    def sum(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of that name with these *labels*; there must be one."""
        samples = [sample for sample in self.samples if sample.name == name]
        found = [float(sample.value) for sample in samples if labels.items() <= sample.labels.items()]
        assert found, (name, labels)
        return sum(found)


@dataclass
class Round:
    """What was seen of one round: the pages scraped in each scene, the process's end, and what it left."""

    pages: dict[str, list[Page]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    errors: str = ""
    exit_code: int | None = None
    duration: int = ROUND_SECONDS
    seconds: float = 0.0
    files_left: list[Path] = field(default_factory=list)

    @property
    def announced(self) -> list[str]:
        """The scenes, as the terminal announces them."""
        return [line.split()[0] for line in self.lines if ": watch " in line]

    @property
    def is_seen(self) -> bool:
        """Whether each scene was scraped often enough to show how it began and ended."""
        return all(len(self.pages.get(scene, ())) >= PAGES_LEAST for scene in self.announced)

    def seen(self, scene: str, name: str, **labels: str) -> list[float]:
        """Return the values of a metric in the order in which they were scraped."""
        return [page.sum(name, **labels) for page in self.pages[scene]]

    def grown(self, scene: str, name: str, **labels: str) -> float:
        """Return how much a counter has grown between the first and the last page of a scene."""
        values = self.seen(scene, name, **labels)
        return values[-1] - values[0]

    def mean(self, scene: str, histogram: str) -> float:
        """Return the mean of what a histogram has observed during a scene."""
        return self.grown(scene, f"{histogram}_sum") / self.grown(scene, f"{histogram}_count")


def page_before_the_end(demo: Demo) -> Page | None:
    """Scrape; None if the demo ends meanwhile."""
    try:
        return demo.metrics()
    except (OSError, http.client.HTTPException):
        demo.process.wait(STOP_SECONDS_MAX)
        return None


def follow(directory: Path, **environ: str) -> Round:
    """Play one round and scrape it all the time, and a longer one if the machine was too busy for that."""
    seen = follow_for(ROUND_SECONDS, directory, **environ)
    return seen if seen.is_seen else follow_for(SLOW_FACTOR * ROUND_SECONDS, directory, **environ)


def follow_for(seconds: int, directory: Path, **environ: str) -> Round:
    """Play and scrape one round of so many seconds; a page counts only if one scene was played during its request."""
    seen = Round(duration=seconds)
    with running(directory, "--duration", str(seconds), **environ) as demo:
        demo.wait_for(lambda: demo.scene)
        begun = time.monotonic()
        while demo.process.poll() is None:
            scene = demo.scene
            page = page_before_the_end(demo) if scene else None
            if page and scene and scene == demo.scene:
                seen.pages.setdefault(scene, []).append(page)
            time.sleep(0.05)
        seen.seconds = time.monotonic() - begun
        seen.exit_code, seen.errors = demo.process.wait(), demo.errors()
        demo._reader.join(10)
        seen.lines = demo.lines
    seen.files_left = list(directory.iterdir())
    return seen


@pytest.fixture(name="sqlite_round", scope="module")
def _sqlite_round(tmp_path_factory: pytest.TempPathFactory) -> Round:
    return follow(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(name="postgres_round", scope="module")
def _postgres_round(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Round:
    return follow(tmp_path_factory.mktemp("postgres"), DATABASE_URL=postgres.url("asyncpg").render_as_string())


@pytest.fixture(name="played", params=["sqlite_round", "postgres_round"], scope="module")
def _played(request: pytest.FixtureRequest) -> Any:
    """One round on each database."""
    return request.getfixturevalue(request.param)


def test_the_round_ends_by_itself_and_leaves_nothing(played: Round) -> None:
    """After its duration the demo ends in time, with exit code 0, no output on stderr and no file."""
    assert (0, "", []) == (played.exit_code, played.errors, played.files_left)
    assert played.duration - 1 < played.seconds < 4 * played.duration


def test_calm_shows_no_wait(played: Round) -> None:
    """While there are fewer clients than connections, no request is refused and the pool is never exhausted."""
    assert played.grown("calm", "sqlalchemy_pool_checkouts_total") > 0
    assert 0 == played.seen("calm", "db_client_connection_timeouts_total")[-1]
    assert 0 == played.seen("calm", "sqlalchemy_pool_saturated_seconds_total")[-1]


def test_burst_shows_callers_that_wait(played: Round) -> None:
    """While there are more clients than connections, all connections are used, clients are pending, and they wait."""
    used = played.seen("burst", "db_client_connection_count", db_client_connection_state="used")

    assert CAPACITY == played.seen("burst", "sqlalchemy_pool_used_peak")[-1] >= max(used) > 0
    assert max(played.seen("burst", "db_client_connection_pending_requests")) > 0
    assert played.seen("burst", "sqlalchemy_pool_pending_peak")[-1] > CAPACITY
    assert played.grown("burst", "sqlalchemy_pool_saturated_seconds_total") > 0.1
    assert played.mean("burst", "db_client_connection_wait_time_seconds") > 2 * played.mean(
        "calm", "db_client_connection_wait_time_seconds"
    )


def test_slow_shows_long_uses_and_timeouts(played: Round) -> None:
    """With slow queries each use takes as long as the query, and clients give up."""
    assert played.mean("slow", "db_client_connection_use_time_seconds") > 0.3
    assert played.mean("slow", "db_client_connection_use_time_seconds") > 2 * played.mean(
        "burst", "db_client_connection_use_time_seconds"
    )
    assert played.grown("slow", "db_client_connection_timeouts_total") > 0


def test_leak_shows_both_kinds(played: Round) -> None:
    """What the garbage collector returns is leaked; what a finished task holds is orphaned and gets older."""
    ages = played.seen("leak", "sqlalchemy_pool_oldest_use_seconds")

    assert played.grown("leak", "sqlalchemy_pool_leaked_total") > 0
    assert played.seen("leak", "sqlalchemy_pool_orphaned")[-1] >= 2
    assert max(ages) > 1


def test_restart_shows_connections_that_end_and_begin(postgres_round: Round) -> None:
    """When the server ends all connections, they are found invalid, closed for that reason, and opened again."""
    closes = "sqlalchemy_pool_closes_total"
    found = [postgres_round.grown("restart", closes, reason=reason) for reason in ("invalidate", "pre_ping")]

    assert postgres_round.grown("restart", "sqlalchemy_pool_invalidations_total", kind="hard") == sum(found) > 0
    assert postgres_round.grown("restart", "sqlalchemy_pool_connects_total") > 0


def test_restart_is_skipped_without_a_server(sqlite_round: Round) -> None:
    """SQLite has no server to restart: the scene is skipped, and the output says so."""
    assert "restart" not in sqlite_round.pages
    assert 1 == len([line for line in sqlite_round.lines if line.startswith("restart   skipped: needs PostgreSQL")])


def test_recovery_shows_that_all_is_well(played: Round) -> None:
    """At the end no connection is used, and no caller waits."""
    assert 0 == played.seen("recovery", "sqlalchemy_pool_orphaned")[-1]
    # A connection that were still held would be older than that in every page.
    assert min(played.seen("recovery", "sqlalchemy_pool_oldest_use_seconds")) < 1
    assert 0 == played.grown("recovery", "db_client_connection_timeouts_total")
    assert 0 == played.grown("recovery", "sqlalchemy_pool_saturated_seconds_total")


def test_the_numbers_are_exact_all_the_time(played: Round) -> None:
    """In every page of every scene: no drift, no hook error, and opened less closed connections are open."""
    pages = [page for pages in played.pages.values() for page in pages]
    opened = [page.sum("sqlalchemy_pool_connects_total") - page.sum("sqlalchemy_pool_closes_total") for page in pages]
    present = [page.sum("db_client_connection_count") + page.sum("sqlalchemy_pool_detached") for page in pages]

    assert {0} == {page.sum("sqlalchemy_pool_accounting_drift") for page in pages}
    assert {0} == {page.sum("pool_exporter_hook_errors_total") for page in pages}
    assert opened == present


def test_promtool_finds_no_fault(played: Round, promtool: Path) -> None:
    """In every scene, `promtool check metrics` finds no fault."""
    said = {
        scene: subprocess.run(
            [promtool, "check", "metrics"], input=pages[-1].text, capture_output=True, text=True, check=False
        ).stderr.splitlines()
        for scene, pages in played.pages.items()
    }

    assert {scene: [] for scene in played.pages} == said


def test_the_terminal_has_each_scene(played: Round) -> None:
    """Each scene that is played has a line with what to watch and one with its numbers, and none is forgotten."""
    numbers = [line for line in played.lines if NUMBERS.match(line)]

    assert list(played.pages) == played.announced
    assert len(numbers) == len(played.announced)
    assert [scene.name for scene in SCENES] == [line.split()[0] for line in played.lines[1:] if line[:1].islower()]


def test_the_terminal_has_reports(played: Round) -> None:
    """While scenes exhaust the pool, reports say why, with what holds the connections and what to do.

    Which verdict each scene has is tested in tests/integration/test_demo_scenes.py.
    """
    text = "".join(played.lines)
    found = re.findall(r'^    pool "demo": (\w+)  ', text, re.MULTILINE)

    assert set(found) <= {*EXHAUSTION_VERDICTS.values}
    assert len(found) == len(re.findall("^      DO    ", text, re.MULTILINE)) > 0
    assert len(found) == len(re.findall("^      HELD  ", text, re.MULTILINE))


def test_nothing_is_left_on_the_server(postgres_round: Round, postgres: PostgresServer) -> None:
    """The tables are gone, and so is every connection."""
    tables = "select tablename from pg_tables where tablename like 'pool_exporter_demo%%'"
    backends = "select pid from pg_stat_activity where application_name like 'pool-exporter-demo%%'"

    assert (0, [], []) == (postgres_round.exit_code, postgres.admin(tables), postgres.admin(backends))


@pytest.mark.parametrize(
    ("number", "scene"), [(signal.SIGINT, "slow"), (signal.SIGTERM, "leak"), (signal.SIGTERM, "burst")]
)
def test_a_signal_ends_it_in_the_middle_of_a_scene(number: int, scene: str, tmp_path: Path) -> None:
    """Ctrl-C and `kill` end the demo with exit code 0, whatever is under way; no output, process or file is left."""
    with running(tmp_path, "--scene", scene) as demo:
        demo.wait_for(lambda: demo.scene == scene)
        demo.wait_for(lambda: demo.metrics().sum("db_client_connection_use_time_seconds_count") > 50)
        demo.stop(number)

        assert (0, "", True, []) == (
            demo.process.returncode,
            demo.errors(),
            demo.is_gone(),
            list(tmp_path.iterdir()),
        )


def test_a_signal_ends_it_although_callers_would_wait_long(tmp_path: Path) -> None:
    """A long pool_timeout does not hold the demo up, nor does a second signal."""
    with running(tmp_path, "--scene", "slow", DB_POOL_TIMEOUT="300", DB_POOL_SIZE="1", DB_MAX_OVERFLOW="0") as demo:
        demo.wait_for(lambda: demo.scene == "slow")
        demo.wait_for(lambda: demo.metrics().sum("db_client_connection_pending_requests") > 2)
        demo.process.send_signal(signal.SIGINT)
        demo.stop(signal.SIGINT)

        assert (0, "", True, []) == (
            demo.process.returncode,
            demo.errors(),
            demo.is_gone(),
            list(tmp_path.iterdir()),
        )


def test_a_signal_ends_it_while_it_starts(tmp_path: Path) -> None:
    """A signal also ends the demo before the database answers: this server accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/d"
        with running(tmp_path, DATABASE_URL=url) as demo, silent.accept()[0]:
            demo.stop(signal.SIGTERM)

            assert (0, "", []) == (demo.process.returncode, demo.errors(), list(tmp_path.iterdir()))


def test_the_pages_of_the_banner_are_there(tmp_path: Path) -> None:
    """Each URL of the banner leads to a page."""
    with running(tmp_path, "--scene", "calm") as demo:
        page, docs = demo.get("/"), demo.get("/docs")

        assert (True, True) == (">demo <" in page, "swagger" in docs)
        demo.stop(signal.SIGTERM)
