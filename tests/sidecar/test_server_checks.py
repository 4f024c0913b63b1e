"""The sidecar's findings with a probe: servers are asked once in a while, by a thread, and no page waits for them."""

import threading
from dataclasses import replace

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.probe.server_settings import ServerSettings
from pool_exporter.probe.target import ProbeTarget, parse_targets
from pool_exporter.sidecar.server_checks import AGAIN_SECONDS, ServerChecks
from tests.fixtures.incidents import pool

PASSWORD = "hunter2"
TARGETS = parse_targets([f"postgresql+asyncpg://monitor:{PASSWORD}@db:5432/shop"])
LABELS = {"pool_class": "QueuePool", "dialect": "postgresql", "pool_size": "5", "max_overflow": "5", "pre_ping": "true"}


def orders(workers: int = 12, address: str = "db") -> PoolSnapshot:
    """Return a pool of so many workers."""
    identity = PoolIdentity("orders", "postgresql", "shop", address, "5432")
    return replace(pool(identity), config=PoolConfig(max=10 * workers, labels=LABELS))


class Server:
    """Stands in for the server: it keeps how often it was asked."""

    def __init__(self, *, fails: bool = False) -> None:
        self.now, self.asked, self._fails = 1000.0, 0, fails

    def read(self, _: ProbeTarget, __: float) -> ServerSettings:
        """Answer as a server that accepts 97 connections."""
        self.asked += 1
        if self._fails:
            raise OSError(f"no server at monitor:{PASSWORD}@db")
        return ServerSettings(97, {"statement_timeout": 0.0})


def ids(checks: ServerChecks, found: PoolSnapshot) -> set[str]:
    """Return what the page says after the server was asked, if it was."""
    checks(Snapshot())
    checks._query.wait(60)
    return {each.id for each in checks(Snapshot())(found)}


def test_what_only_the_server_knows() -> None:
    """More connections than the server accepts are found, of its own pools only."""
    server = Server()
    checks = ServerChecks(TARGETS, server.read, lambda: server.now)

    assert {"P01", "P21"} <= ids(checks, orders())
    assert "P21" not in ids(ServerChecks(TARGETS, Server().read, silenced=["P21"]), orders())
    assert "P01" not in ids(checks, orders(workers=9))
    assert "P01" not in ids(checks, orders(address="other"))
    assert 1 == server.asked


def test_it_is_asked_again_after_a_while() -> None:
    """Settings seldom change."""
    server = Server()
    checks = ServerChecks(TARGETS, server.read, lambda: server.now)
    ids(checks, orders())
    server.now += AGAIN_SECONDS
    ids(checks, orders())

    assert 2 == server.asked


def test_no_page_waits() -> None:
    """While the server hangs, a page has what the directory alone tells, and no second thread is started."""
    hangs, server = threading.Event(), Server()

    def read(target: ProbeTarget, seconds: float) -> ServerSettings:
        hangs.wait(60)
        return server.read(target, seconds)

    checks = ServerChecks(TARGETS, read, lambda: server.now)
    found = {each.id for each in checks(Snapshot())(orders())}
    thread = checks._query._thread
    server.now += AGAIN_SECONDS
    checks(Snapshot())

    assert "P01" not in found
    assert thread is checks._query._thread
    hangs.set()
    assert thread is not None
    thread.join(60)


def test_a_server_that_cannot_be_asked() -> None:
    """It costs only what it would have said."""
    checks = ServerChecks(TARGETS, Server(fails=True).read, lambda: 1000.0)

    assert "P01" not in ids(checks, orders())
