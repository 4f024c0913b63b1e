"""One pool that is measured: its snapshots and its end.

A monitor holds its hooks weakly: it keeps no pool and no engine alive. Nothing here may count or render.
"""

import time
from array import array
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from operator import add
from typing import TYPE_CHECKING, Final, Protocol
from weakref import ref

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool
from typing_extensions import override

from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.hook_errors import errors
from pool_exporter.hooks.pool_hooks import PoolHooks
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.runtime.argument_checks import check_tracing
from pool_exporter.runtime.monitor import Monitor
from pool_exporter.runtime.watchdog.pool_examiner import PoolExaminer
from pool_exporter.runtime.watchdog.watchdog import watchdog
from pool_exporter.state.aggregate import Counted, added, as_final_counters, only_counters
from pool_exporter.state.decode import decode
from pool_exporter.state.layout import SECOND, SLOT_FORMAT, Slots
from pool_exporter.state.pool_state import PoolState
from pool_exporter.state.shown_pool import ShownPool
from pool_exporter.state.unit_uses import ended_totals, summed

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from pool_exporter.otel.wait_spans import WaitSpans


_NO_POOL: Final = PoolState(time.monotonic_ns)
"""Replaces the state of a pool that has ended, so that the state can be freed."""


def _no_engine() -> None:
    """Return no engine, for a pool that was instrumented without one."""


class MonitorRegistry(Protocol):
    """What a monitor needs of the registry that made it."""

    def changing(self) -> AbstractContextManager[None]:
        """Return a context in which no other thread adds or removes a pool."""

    def remove(self, hooks: PoolHooks) -> None:
        """Uninstrument the pool of these hooks."""

    def drop(self, monitor: "PoolMonitor") -> None:
        """Drop the counters of a pool that was garbage-collected."""


class PoolMonitor(Monitor):
    """One pool that is measured."""

    def __init__(self, hooks: PoolHooks, identity: PoolIdentity, config: PoolConfig, registry: MonitorRegistry) -> None:
        """Belong to the registry; `instrument()` makes monitors."""
        self.identity, self.config = identity, config
        self._hooks, self._state, self._registry = ref(hooks), hooks.state, registry
        self._last: PoolSnapshot | None = None
        self._is_closed = False
        #: Whether the application has given the name, and whether it has given another one later.
        self.is_named = self.is_named_again = False
        self._shown = ShownPool()
        #: What was counted in files that this process has left.
        self._left: Counted | None = None
        self._wait_spans: WaitSpans | None = None
        #: Which slow waits become exemplars; see `Environment`.
        self.exemplar_filter = ""
        #: Returns the engine that owns the pool, for `check`; None without one, or when it has ended.
        self.engine: Callable[[], Engine | None] = _no_engine
        #: The counters of ended pools of the same identity, with which this one goes on; all else is 0.
        self.before: Counted | None = None
        #: All counters, once the pool was garbage-collected.
        self.final: Counted | None = None
        self._examiner = PoolExaminer(hooks, self, watchdog)
        self._install_examiner(hooks)

    def __repr__(self) -> str:
        return f"<Monitor {self.identity.name!r}{' closed' if self._is_closed else ''}>"

    @property
    def slots(self) -> Slots:
        """The slots in which the pool counts."""
        return self._state.slots

    @property
    def pool(self) -> Pool | None:
        """The pool that serves callers now; None when it has ended."""
        hooks = self._hooks()
        pools = [] if hooks is None else hooks.pools()
        return pools[-1] if pools else None

    @property
    def age_seconds(self) -> float | None:
        """For how long the pool has counted; None where its counters go on with those of an earlier one."""
        if self.before is not None or self._left is not None:
            return None
        return (self._state.clock() - self._state.origin) / SECOND

    @override
    def snapshot(self) -> PoolSnapshot:
        if self._last is not None:
            return self._last
        if self.final is not None:
            return ended_pool(self.identity, self.final, self._shown)
        hooks, state = self._hooks(), self._state
        if hooks is not None:
            hooks.refresh()
        slots = self._with_before(state.copy_slots())
        if self._left is not None:
            slots = list(map(add, slots, self._left.slots))
        pool = decode(slots, state.clock(), self.identity, self.config)
        if self._wait_spans is not None:
            pool = replace(pool, wait_time=self._wait_spans.shown(pool.wait_time))
        earlier = [ended_totals(counted.units) for counted in (self.before, self._left) if counted is not None]
        return self._shown.next(pool, [*earlier, state.unit_totals()])

    @override
    def diagnose(self) -> Diagnosis:
        return self._examiner.diagnose()

    def diagnose_at(self) -> tuple[int, Diagnosis]:
        """Return a diagnosis of now, and when it was made, in nanoseconds since the pool's origin."""
        return self._examiner.diagnose_at()

    @property
    @override
    def diagnoses(self) -> tuple[Diagnosis, ...]:
        return self._examiner.kept

    def exhaustion(self) -> tuple[str, str]:
        """Return verdict and summary of the last report of the last minute; "" for both without one."""
        made = self._examiner.newest
        return ("", "") if made is None else (made.verdict, made.summary)

    def _install_examiner(self, hooks: PoolHooks) -> None:
        if watchdog.is_on:
            self._examiner.install(hooks)

    def keep_counters(self) -> None:
        """Keep what was counted in a file that this process leaves: snapshots go on with the sum."""
        slots, units = only_counters(self._state.copy_slots()), self._state.unit_uses.take()
        if self._left is not None:
            slots, units = list(map(add, slots, self._left.slots)), summed(self._left.units, units)
        self._left = Counted(slots, units)

    def end(self, now: int) -> None:
        """Keep the counters of the pool, which was garbage-collected at *now* of its clock, in nanoseconds."""
        slots, units = as_final_counters(self._state.copy_slots(), now), self._state.unit_uses.take()
        if self.before is not None:
            slots, units = self._with_before(slots), summed(self.before.units, units)
        self.final, self._state = Counted(array(SLOT_FORMAT, added([slots])), units), _NO_POOL
        if any(units.values()):  # What was shown of them stays, also when the next pool goes on with it.
            ended_pool(self.identity, self.final, self._shown)
            self.final = self.final._replace(units=self._shown.ns_by_unit())

    def _with_before(self, slots: list[int]) -> list[int]:
        return slots if self.before is None else list(map(add, slots, self.before.slots))

    def restart_after_fork(self, state: PoolState) -> None:
        """Go on with *state* in a forked child, from zero: the parent's connections and callers are not its own."""
        self.before = self._left = None
        self._shown = ShownPool()
        self._state = state
        hooks = self._hooks()
        self._examiner.restart_after_fork()
        if hooks is not None:
            hooks.restart_after_fork(state)
            self._install_examiner(hooks)
        if self._wait_spans is not None:
            self._wait_spans.restart_after_fork(state)

    @override
    def trace_waits(self, seconds: float, tracer_provider: "TracerProvider | None" = None) -> None:
        check_tracing(seconds, tracer_provider)
        from pool_exporter.otel.wait_spans import WaitSpans

        self._wait_spans = WaitSpans(self, self._state, seconds, tracer_provider, self.exemplar_filter)

    @override
    def close(self) -> None:
        with self._registry.changing():
            if self._is_closed:
                return
            self._is_closed = True
            try:
                self._last = self.snapshot()
            except Exception as error:  # noqa: BLE001  # the application may be ending, and monitoring may not stop it
                errors.report(error)
            hooks = self._hooks()
            if hooks is not None:
                self._registry.remove(hooks)
            else:
                self._registry.drop(self)


def ended_pool(identity: PoolIdentity, counted: Counted, shown: ShownPool) -> PoolSnapshot:
    """Return the snapshot of a pool that has ended: as in a shared directory, without limit and configuration."""
    return shown.next(decode(counted.slots, 0, identity, PoolConfig()), [ended_totals(counted.units)])
