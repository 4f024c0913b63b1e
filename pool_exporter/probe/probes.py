"""Runs the probes of all servers, on a thread and an event loop of their own, and matches their numbers with the pools.

`joined` is called during a scrape: it takes the results of the last queries, and waits for no server. Nothing here may
know a query or a driver.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pool_exporter.errors import traceback_without_passwords
from pool_exporter.metrics.server_snapshot import Backend, LivingPool, ServerSnapshot, ServerStats
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.probe.backend_matching import BackendMemory, MatchedBackends, match_backends
from pool_exporter.probe.poller import Poller
from pool_exporter.probe.query_result import QueryResult
from pool_exporter.probe.target import ProbeTarget

INTERVAL_SECONDS: Final = 15.0
TIMEOUT_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 2.0

_GRACE_SECONDS: Final = 0.3
"""Seconds that probes may take to end in order."""

_MISSING: Final = "an error in the probe: the database servers are missing from this scrape\n%s"
_ENDED: Final = "the probes have ended by an error: restart the sidecar, and report it\n%s"

_log = logging.getLogger("pool_exporter")


class Probes:
    """Queries each server at its own interval between `start` and `close`. All times are in seconds."""

    def __init__(
        self, targets: Sequence[ProbeTarget], interval: float = INTERVAL_SECONDS, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        self._pollers = tuple(Poller(target, interval, timeout) for target in targets)
        self._memories = [BackendMemory() for _ in targets]
        self._lock = threading.Lock()  # Guards the memories while backends are matched; nothing waits under it.
        self._stale_after = 3 * interval + 4 * timeout
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._is_ready = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def targets(self) -> tuple[ProbeTarget, ...]:
        """The servers."""
        return tuple(poller.target for poller in self._pollers)

    def start(self) -> None:
        """Start the thread; a second call does nothing."""
        if self._thread is None and self._pollers:
            self._thread = threading.Thread(target=self._run, name="pool_exporter probe", daemon=True)
            self._thread.start()
            self._is_ready.wait()

    def close(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Close the connections and end the thread.

        Returns:
            Whether the thread ended within *timeout* seconds: a DNS lookup cannot be interrupted.
        """
        if self._thread is None:
            return True
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def servers(self, living: Sequence[LivingPool] = ()) -> tuple[ServerSnapshot, ...]:
        """Return each server's numbers as they are known now, matched with the living pools. Never blocks."""
        now = time.monotonic()
        with self._lock:
            return tuple(self._server(at, living, now) for at in range(len(self._pollers)))

    def joined(self, snapshot: Snapshot) -> Snapshot:
        """Return *snapshot* with the servers' numbers added. Never blocks and never raises."""
        try:
            return replace(snapshot, servers=self.servers(snapshot.living))
        except Exception as error:  # noqa: BLE001  # the pools' numbers matter more than the servers'
            _log.error(_MISSING, traceback_without_passwords(error))
            return snapshot

    def _server(self, at: int, living: Sequence[LivingPool], now: float) -> ServerSnapshot:
        poller = self._pollers[at]
        state, identity = poller.state, poller.target.identity
        is_fresh = state.stats is not None and now - state.taken <= self._stale_after
        result = QueryResult(state.stats, state.began, state.taken) if is_fresh and state.stats is not None else None
        joined, self._memories[at] = match_backends(identity, result, living, self._memories[at], now)
        blank = ServerSnapshot(
            identity=identity,
            up=int(result is not None),
            errors=state.errors,
            pools=joined.pools,
            budget=joined.budget,
            last_success_timestamp=state.last_success,
        )
        return blank if result is None else _with_stats(blank, result.stats, joined)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception as error:  # noqa: BLE001  # the thread ends with a log line, not with the interpreter's traceback
            _log.error(_ENDED, traceback_without_passwords(error))
        finally:
            self._is_ready.set()

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._is_ready.set()
        tasks = [asyncio.create_task(poller.run(self._stop)) for poller in self._pollers]
        await self._stop.wait()
        for poller in self._pollers:
            poller.interrupt()
        _, waiting = await asyncio.wait(tasks, timeout=_GRACE_SECONDS)
        for task in waiting:  # They are connecting.
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _with_stats(server: ServerSnapshot, stats: ServerStats, joined: MatchedBackends) -> ServerSnapshot:
    ages = [each for each in stats.backends if each.transaction_seconds is not None]
    idle = [each for each in ages if each.state.startswith("idle_in_transaction")]
    return replace(
        server,
        connections_max=stats.limit,
        connections=stats.connections,
        oldest_transaction_seconds=_oldest(ages) if stats.has_transactions else None,
        oldest_idle_transaction_seconds=_oldest(idle) if stats.has_transactions else None,
        orphaned=joined.orphaned,
        held=joined.held,
        shared=joined.faults.shared,
        idle_in_transaction=joined.faults.idle_in_transaction,
        gone=joined.faults.gone,
        bouncer=stats.bouncer,
    )


def _oldest(backends: Sequence[Backend]) -> float:
    return max((backend.transaction_seconds or 0.0 for backend in backends), default=0.0)
