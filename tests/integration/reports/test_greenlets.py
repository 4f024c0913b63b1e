"""Monkey-patched processes: gevent's and eventlet's greenlets as owners, and timeouts that are no `Exception`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.deadlines import until
from tests.integration.reports.programs import (
    ROOT,
    WSGI,
    Service,
    celery_service,
    celery_worker,
    need,
    requests,
    send_jobs,
)
from tests.integration.reports.replays import replay

OWNERS = """
import json, sqlalchemy as sa, pool_exporter
from pool_exporter.hook_errors import errors
engine = sa.create_engine("sqlite:///{path}", poolclass=sa.QueuePool, pool_size=2, max_overflow=0)
monitor = pool_exporter.instrument(engine)
box = []

def holder():
    with engine.connect():
        sleep(60)

def leaker():
    box.append(engine.connect())

spawn(holder)
sleep(0.1)
wait(spawn(leaker))
seen = []
for _ in range(3):
    sleep(0.3)
    snapshot = monitor.snapshot()
    seen.append([snapshot.used, snapshot.orphaned, errors.count])
print(json.dumps(seen), flush=True)
import os
os._exit(0)
"""

LIBRARIES = {
    "gevent": (
        "from gevent import monkey; monkey.patch_all()\\nimport gevent\\n"
        "spawn, sleep, wait = gevent.spawn, gevent.sleep, gevent.Greenlet.join\\n"
    ),
    "eventlet": (
        "import eventlet; eventlet.monkey_patch()\\n"
        "spawn, sleep, wait = eventlet.spawn, eventlet.sleep, lambda greenlet: greenlet.wait()\\n"
    ),
}

TIMEOUTS = """
from gevent import monkey; monkey.patch_all()
import gc, json, random, gevent, sqlalchemy as sa, pool_exporter
from pool_exporter.hook_errors import errors
engine = sa.create_engine("sqlite:///{path}", poolclass=sa.QueuePool, pool_size=5, max_overflow=3)
monitor = pool_exporter.instrument(engine)
chance = random.Random(1)
granted = ended = 0

def caller():
    global granted, ended
    gevent.sleep(chance.random() * 0.3)
    has = False
    try:
        with gevent.Timeout(chance.random() * 0.03):
            with engine.connect() as connection:
                has = True
                connection.execute(sa.text("select 1"))
                gevent.sleep(0.01)
    except gevent.Timeout:
        pass
    granted += has
    ended += not has

gevent.joinall([gevent.spawn(caller) for _ in range(240)])
gc.collect()
now = monitor.snapshot()
print(json.dumps({{
    "truth": [granted, ended, engine.pool.checkedout()],
    "seen": [now.checkouts, sum(now.acquire_failures.values()), now.used],
    "rest": [now.pending, now.leaked, now.accounting_drift, errors.count],
}}))
"""


def run(program: str) -> object:
    """Run a program, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    value: object = json.loads(done.stdout)
    return value


@replay("A18")
def test_a18_gevent_timeouts_at_random_points(tmp_path: Path) -> None:
    """Each of 240 callers is granted or failed, and no connection stays out."""
    need("gevent")

    found = run(TIMEOUTS.format(path=f"{tmp_path}/timeouts.db"))

    assert isinstance(found, dict)
    assert found["truth"] == found["seen"]
    assert [0, 0, 0, 0] == found["rest"]
    assert min(found["truth"][:2]) > 0


@replay("A19")
@pytest.mark.parametrize("library", LIBRARIES)
def test_a19_owner_is_a_greenlet(tmp_path: Path, library: str) -> None:
    """Of two used connections, that of the greenlet that ended is orphaned; no scrape is a hook error."""
    need(library)

    found = run(LIBRARIES[library].replace("\\n", "\n") + OWNERS.format(path=f"{tmp_path}/owners.db"))

    assert [[2, 1, 0]] * 3 == found


def hold(service: Service) -> None:
    """See that three connections, which are held for three seconds, are used, and none is orphaned."""
    until(3, lambda: service.pool().used)
    until(True, lambda: service.pool().oldest_use_seconds > 2)

    assert (3, 0, 0) == (service.pool().used, service.pool().orphaned, service.hook_errors())


SERVERS = {
    "gunicorn": (
        *("gunicorn", "--bind", "127.0.0.1:{port}"),
        *("--workers", "1", "--worker-class", "gevent", "service:app"),
    ),
    "uwsgi": (
        *("uwsgi", "--http-socket", "127.0.0.1:{port}", "--virtualenv", sys.prefix, "--wsgi-file", "service.py"),
        *("--callable", "app", "--gevent", "10", "--gevent-monkey-patch", "--lazy-apps", "--die-on-term"),
    ),
}


@replay("B5")
@pytest.mark.parametrize("server", SERVERS)
def test_b5_servers_of_greenlets(tmp_path: Path, server: str) -> None:
    """Three requests in greenlets hold a connection each; no heartbeat of the worker is a hook error."""
    need(server)
    need("gevent")
    service = Service(tmp_path, WSGI, SIZE="5")
    with service.run(*SERVERS[server]):
        with requests(service, 3, seconds=3):
            hold(service)

        until((3, 0), lambda: (service.pool().checkouts, service.pool().used))
        assert 3 == service.truth


@replay("B5")
@pytest.mark.parametrize("library", LIBRARIES)
def test_b5_celery_of_greenlets(tmp_path: Path, library: str) -> None:
    """The same of three tasks of Celery."""
    need(library)
    service = celery_service(tmp_path)
    with celery_worker(service, "--pool", library, "--concurrency", "5"):
        send_jobs(service, 3, seconds=3)
        until(3, lambda: service.truth)
        hold(service)

        until((3, 0), lambda: (service.pool().checkouts, service.pool().used))
