"""Probes of real servers for tests: with a short interval, and functions that return one number."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import URL

from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.server_snapshot import LivingPool, PoolConnection, ServerSnapshot
from pool_exporter.probe.probes import Probes
from pool_exporter.probe.target import parse_targets
from tests.fixtures.deadlines import PROMPT_SECONDS, until

INTERVAL = 0.1
THREAD = "pool_exporter probe"


@contextmanager
def probing(*urls: URL, interval: float = INTERVAL, timeout: float = 5.0) -> Iterator[Probes]:
    """Probe servers for the time of the block, and check that nothing of the probe is left then."""
    before = own_threads()
    probes = Probes(parse_targets([url.render_as_string(hide_password=False) for url in urls]), interval, timeout)
    probes.start()
    try:
        yield probes
    finally:
        has_ended = probes.close(PROMPT_SECONDS)

    assert has_ended
    assert before == own_threads()


def own_threads() -> int:
    """Return how many threads of probes there are."""
    return sum(thread.name.startswith(THREAD) for thread in threading.enumerate())


def server(probes: Probes, living: Sequence[LivingPool] = ()) -> ServerSnapshot:
    """Return what is known of the only server."""
    [only] = probes.servers(living)
    return only


def states(probes: Probes, application: str, database: str = "app") -> dict[str, int]:
    """Return an application's connections by state, without those that are 0."""
    found = server(probes).connections.get((application, database), {})
    return {state: count for state, count in found.items() if count}


def failures(probes: Probes) -> set[str]:
    """Return the kinds of errors that there have been."""
    return {kind for kind, count in server(probes).errors.items() if count}


def until_up(probes: Probes) -> ServerSnapshot:
    """Wait for a query that succeeds, and return its result."""
    until(1, lambda: server(probes).up)
    return server(probes)


def look_again(probes: Probes, living: Sequence[LivingPool] = ()) -> ServerSnapshot:
    """Wait for a query that began after this call, and return its result, joined with the living pools."""
    for _ in range(2):
        last = server(probes).last_success_timestamp
        until(True, lambda last=last: server(probes).last_success_timestamp != last)  # type: ignore[misc]  # a default
    return server(probes, living)


def pool_of(url: URL, *pids: int, limit: int | None = 5) -> LivingPool:
    """Return a pool to *url* that has the backends *pids*."""
    identity = PoolIdentity("orders", url.get_backend_name(), "app", url.host or "", str(url.port), "checkout")
    return LivingPool(identity, limit, tuple(map(PoolConnection, pids)))
