"""CeleryUnits: each task that a Celery worker runs is a unit of work, named by the task.

Celery's signals are sent in the process, thread or greenlet that runs the task, so its context has the unit, with every
pool of Celery: prefork, threads, gevent, eventlet and solo.

Celery is imported when `install()` is called, and not before. Nothing here raises into a task.
"""

from pool_exporter.hook_errors import guarded
from pool_exporter.units import Unit, code_of, current_unit


class CeleryUnits:
    """Makes each Celery task a unit of work, under the name of the task.

    Raises:
        ImportError: `install()` was called, and Celery is not installed.

    Example:
        >>> pool_exporter.CeleryUnits().install()
    """

    def install(self) -> None:
        """Connect to Celery's signals, for all applications of this process; a second call does nothing.

        Raises:
            ImportError: Celery is not installed.
        """
        try:
            from celery import signals
        except ImportError as error:
            raise ImportError("CeleryUnits needs Celery: pip install celery", name=error.name) from error
        signals.task_prerun.connect(_begin, weak=False, dispatch_uid="pool_exporter")
        signals.task_postrun.connect(_end, weak=False, dispatch_uid="pool_exporter")


class _TaskUnit(Unit):
    """The unit of one task, and the unit around it, if the task was called inside of another one."""

    __slots__ = ("outer", "task_id")

    is_declared = True

    def __init__(self, name: object, run: object, task_id: object, outer: Unit | None) -> None:
        super().__init__(name, code_of(run))
        self.task_id, self.outer = task_id, outer


@guarded
def _begin(sender: object = None, task_id: object = None, **_: object) -> None:
    request = getattr(sender, "request", None)
    # A worker begins each task with nothing around it: what is current there was left by a task that was interrupted.
    outer = current_unit.get() if getattr(request, "is_eager", False) else None
    current_unit.set(_TaskUnit(getattr(sender, "name", ""), getattr(sender, "run", None), task_id, outer))


@guarded
def _end(task_id: object = None, **_: object) -> None:
    unit = current_unit.get()
    if isinstance(unit, _TaskUnit) and unit.task_id == task_id:
        outer, unit.outer = unit.outer, None
        unit.end()
        current_unit.set(outer)
