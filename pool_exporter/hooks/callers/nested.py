"""Whether a caller asks for a second connection: tasks and threads of one unit may also run beside each other.

This runs only for a caller whose unit holds a connection of the pool already. Nothing here may read a stack, count, or
raise for an owner of an unknown kind.
"""

import threading
from typing import Final, cast

from pool_exporter.hooks.checkout_owner import is_finished, task_owner
from pool_exporter.state import unit_uses
from pool_exporter.state.pool_slots import PoolSlots
from pool_exporter.units import Unit

_ANYIO: Final = "anyio"


def is_nested(state: PoolSlots, of: unit_uses.Unit) -> bool:
    """Return whether the holder of a connection may wait for the caller, which is of the same unit.

    That is the caller's own task, thread or greenlet; the one in which the unit began; a worker thread of anyio,
    because a request runs in one after the other; and what has ended. Any other one holds its connection beside it.
    """
    unit = cast("Unit", of)
    if unit.is_done:
        return False
    current = task_owner()
    task, threads = None if current is None else current(), (threading.get_ident(), unit.thread_id)
    used = (each.owner for each in state.live_connections() if each.unit is unit and each.is_used)
    return any(_may_wait(None if owner is None else owner(), unit, task, threads) for owner in used)


def _may_wait(owner: object, unit: Unit, task: object, threads: tuple[int, int]) -> bool:
    if owner is None or owner is task or owner is unit.task():
        return True
    if getattr(owner, "ident", None) in threads or id(owner) in threads:  # The latter is a greenlet's identifier.
        return True
    return type(owner).__module__.partition(".")[0] == _ANYIO or is_finished(lambda: owner)
