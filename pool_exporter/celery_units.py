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
    """The unit of one task. One that was called inside of another one has a unit around it."""

    __slots__ = ("task_id",)

    is_declared = True

    def __init__(self, name: object, run: object, task_id: object) -> None:
        super().__init__(name, code_of(run))
        self.task_id = task_id

    def is_of(self, task_id: object) -> bool:
        """Return whether it is that of this task."""
        return self.task_id == task_id


@guarded
def _begin(sender: object = None, task_id: object = None, **_: object) -> None:
    request = getattr(sender, "request", None)
    if not getattr(request, "is_eager", False):
        current_unit.set(None)  # A worker begins each task with nothing around it: an interrupted task has left this.
    current_unit.set(_TaskUnit(getattr(sender, "name", ""), getattr(sender, "run", None), task_id))


@guarded
def _end(task_id: object = None, **_: object) -> None:
    unit = current_unit.get()
    while unit is not None and not (isinstance(unit, _TaskUnit) and unit.is_of(task_id)):
        unit = unit.outer  # One inside of it was not left, as in a generator that the task has kept.
    if unit is not None:
        outer = unit.outer
        unit.end()
        current_unit.set(outer)
