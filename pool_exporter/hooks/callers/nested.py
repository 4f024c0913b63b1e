"""Whether a caller asks for a second connection: tasks and threads of one unit may also run beside each other.

This runs only for a caller whose unit holds a connection of the pool already, or where one around it did when it began.
Nothing here may read a stack, count, or raise for an owner of an unknown kind.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import cast

from pool_exporter.hooks.checkout_owner import is_finished, task_owner
from pool_exporter.hooks.orphans import is_anyio_worker
from pool_exporter.state import unit_uses
from pool_exporter.state.pool_slots import PoolSlots
from pool_exporter.units import Unit, running


def is_nested(state: PoolSlots, of: unit_uses.Unit) -> bool:
    """Return whether the holder of a connection may wait for the caller, which is of the same unit or of one inside it.

    That is the caller's own task, thread or greenlet; the one in which such a unit began; a worker thread of anyio,
    because a request runs in one after the other; and what has ended. Any other one holds its connection beside it.
    """
    unit = cast("Unit", of)
    if unit.is_done:
        return False
    units, current = list(_with_outer(unit)), task_owner()
    tasks = [None if current is None else current(), *(each.task() for each in units)]
    threads = [threading.get_ident(), *(each.thread_id for each in units)]
    used = (each.owner for each in state.live_connections() if each.unit in units and each.is_used)
    return any(_may_wait(None if owner is None else owner(), tasks, threads) for owner in used)


def _with_outer(unit: Unit | None) -> Iterator[Unit]:
    while unit is not None:
        yield unit
        unit = running(unit.outer)


def _may_wait(owner: object, tasks: Sequence[object], threads: Sequence[int]) -> bool:
    if owner is None or any(owner is task for task in tasks):
        return True
    if getattr(owner, "ident", None) in threads or id(owner) in threads:  # The latter is a greenlet's identifier.
        return True
    return is_anyio_worker(owner) or is_finished(lambda: owner)
