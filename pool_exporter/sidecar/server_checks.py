"""Checks the pools of a directory with what the probed database servers say of their limits and time limits.

The servers are queried only while a page that shows findings is open, at most once in `AGAIN_SECONDS`. A page has the
answers that are there, and waits for none. Importing this module loads SQLAlchemy.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from pool_exporter.advice.checks.facts import ServerFacts
from pool_exporter.advice.checks.finding import Finding
from pool_exporter.advice.checks.rules import findings
from pool_exporter.advice.checks.snapshot_facts import facts_of
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.server_snapshot import ServerIdentity
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.probe.backend_matching import is_of_server
from pool_exporter.probe.server_settings import ServerSettings, read_settings
from pool_exporter.probe.target import ProbeTarget
from pool_exporter.sidecar.server_query import ServerQuery
from pool_exporter.web.status.findings import Check

AGAIN_SECONDS: Final = 600.0
"""Settings of servers change at a restart or by an administrator."""
TIMEOUT_SECONDS: Final = 5.0
THREAD: Final = "pool_exporter server settings"

Read = Callable[[ProbeTarget, float], ServerSettings]


class ServerChecks:
    """What checks the pools of each page, and the settings of the servers that are known."""

    def __init__(
        self,
        targets: Sequence[ProbeTarget],
        read: Read = read_settings,
        clock: Callable[[], float] = time.monotonic,
        silenced: Sequence[str] = (),
    ) -> None:
        """Query *targets* by *read*, and check without the rules *silenced*; *clock* returns seconds."""
        self._targets, self._read, self._silenced = targets, read, silenced
        self._known: dict[ServerIdentity, ServerSettings] = {}
        self._query = ServerQuery(THREAD, AGAIN_SECONDS, clock)

    def __call__(self, _: Snapshot) -> Check:
        """Return what checks a pool by its snapshot, and by the settings of its server as far as they are known."""
        self._query.start(self._read_settings)
        return partial(_checked, servers=dict(self._known), silenced=self._silenced)

    def _read_settings(self) -> None:
        for target in self._targets:
            with suppress(Exception):  # The probe of this server logs what is wrong with it.
                self._known[target.identity] = self._read(target, TIMEOUT_SECONDS)


def _checked(
    pool: PoolSnapshot, *, servers: Mapping[ServerIdentity, ServerSettings], silenced: Sequence[str]
) -> tuple[Finding, ...]:
    own = (
        ServerFacts(read.connections_max, read.settings, read.is_bouncer, read.pool_mode)
        for identity, read in servers.items()
        if is_of_server(pool.identity, identity)
    )
    return findings(facts_of(pool, ServerFacts.merged(own)), silenced)
