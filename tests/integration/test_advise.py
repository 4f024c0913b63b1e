"""`pool-exporter advise` has one answer for one load: by the shared directory, a page of metrics and a Prometheus."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.deadlines import until
from tests.fixtures.processes import free_port, is_listening, running
from tests.fixtures.prometheus import prometheus_server
from tests.fixtures.sidecar import PROGRAM

SECONDS = 10
"""How long each source is read: ten scrapes of the Prometheus."""

SERVICE = """
import random, sys, threading, time
from sqlalchemy import create_engine
from sqlalchemy.pool import QueuePool
from pool_exporter import instrument

engine = create_engine("sqlite://", poolclass=QueuePool, pool_size=4, max_overflow=1, pool_timeout=30,
                       connect_args={"check_same_thread": False})
monitor = instrument(engine, name="orders")
source, places = random.Random(1), threading.Semaphore(60)

def use(seconds):
    with places, engine.connect():
        time.sleep(seconds)

while True:
    time.sleep(source.expovariate(60))
    threading.Thread(target=use, args=(source.expovariate(1 / 0.05),), daemon=True).start()
"""
"""About 60 callers a second with 50 ms each: 3 Erlangs on a pool of 5."""


@pytest.fixture(name="sidecar", scope="module")
def _sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A service under load, and the sidecar of its directory on a port."""
    tmp_path, port = tmp_path_factory.mktemp("advise"), free_port()
    directory = tmp_path / "pools"
    directory.mkdir()
    environ = os.environ | {"POOL_EXPORTER_DIR": str(directory)}
    serve = [sys.executable, "-c", PROGRAM, "serve", "--dir", str(directory), f"--web.listen-address=127.0.0.1:{port}"]
    with (
        running(
            [sys.executable, "-c", SERVICE], tmp_path / "service.log", lambda: any(directory.iterdir()), environ=environ
        ),
        running(serve, tmp_path / "serve.log", lambda: is_listening(port)),
    ):
        yield directory, port


def advised(*arguments: str) -> dict[str, Any]:
    """Return what the command says of the only pool."""
    command = [sys.executable, "-c", PROGRAM, "advise", "--json", *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (0, "") == (answer.returncode, answer.stderr)
    (pool,) = json.loads(answer.stdout)["pools"]
    assert isinstance(pool, dict)
    return pool


def test_one_load_has_one_answer(sidecar: tuple[Path, int], prometheus_binary: Path) -> None:
    """The sizes differ by at most one connection, and the loads by what ten seconds of chance and scrapes leave.

    That is so too where Prometheus is asked for half an hour and has scraped the service for half a minute.
    """
    directory, port = sidecar
    with prometheus_server(prometheus_binary, {"pools": port}) as server, ThreadPoolExecutor() as beside:
        by_url = beside.submit(advised, f"--url=http://127.0.0.1:{port}/metrics", f"--window={SECONDS}")
        by_directory = beside.submit(advised, f"--dir={directory}", f"--window={SECONDS}")
        ready = f"count_over_time(db_client_connection_max[{SECONDS + 5}s])"
        until(True, lambda: server.value(ready) >= SECONDS + 2)
        of_prometheus = advised(f"--prometheus={server.url}", f"--range={SECONDS}s")
        of_half_an_hour = advised(f"--prometheus={server.url}", "--range=30m")
    found = (of_prometheus, by_url.result(), by_directory.result(), of_half_an_hour)
    sizes = [each["size_recommended"] for each in found]

    assert ["orders"] * 4 == [each["pool"] for each in found]
    assert [5] * 4 == [each["size_now"] for each in found]
    assert max(sizes) - min(sizes) <= 1, found
    assert [3.0] * 4 == pytest.approx([each["offered_load"] for each in found], rel=0.35)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--url", "http://127.0.0.1:{port}/"], "--url='http://127.0.0.1:{port}/': has no metrics"),
        (["--url", "http://127.0.0.1:{port}/nothing"], "it answers with status 404"),
        (["--url", "http://127.0.0.1:1/metrics"], "--url='http://127.0.0.1:1/metrics': no answer: Connection refused"),
        (["--url", "127.0.0.1/metrics"], "--url='127.0.0.1/metrics': must be a URL such as http://127.0.0.1:10042/"),
        (["--url", "http://me:secret@127.0.0.1:1/metrics"], "--url='http://me:***@127.0.0.1:1/metrics'"),
        (["--url", "env:NOWHERE"], "--url='env:NOWHERE': is not set"),
        (["--prometheus", "http://127.0.0.1:{port}"], "it answers with status 404"),
        (["--dir", "/does/not/exist"], "--dir='/does/not/exist': cannot be read: No such file or directory"),
    ],
)
def test_a_source_that_cannot_be_read(sidecar: tuple[Path, int], arguments: list[str], message: str) -> None:
    """One line names the argument and the fault, without a password, and the exit code is 2."""
    given = [each.format(port=sidecar[1]) for each in arguments]
    command = [sys.executable, "-c", PROGRAM, "advise", "--window=1", *given]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert (2, "") == (answer.returncode, answer.stdout)
    assert message.format(port=sidecar[1]) in answer.stderr
    assert 1 == answer.stderr.count("\n")
    assert "secret" not in answer.stderr
