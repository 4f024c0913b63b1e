"""One unit of work from its start to its end, and the context variable that has the current unit.

The rules are those of `pool_exporter.units`.
"""

import threading
from asyncio import current_task
from asyncio.events import _get_running_loop
from collections.abc import Callable
from contextvars import ContextVar, Token
from types import CodeType
from typing import ClassVar, Final, NamedTuple, Protocol, TypeAlias
from weakref import ref

from pool_exporter.encodable import encodable
from pool_exporter.errors import without_logins, without_passwords
from pool_exporter.hook_errors import errors

LABEL_LENGTH_MAX: Final = 200
"""Characters of a label; the rest is cut."""

KEPT_MAX: Final = 100
"""After so many uses the name of a unit is taken as it is: they would not be shown before its end."""

NO_UNIT: Final = "none"
"""The name of what has no unit, and of a unit with an empty name."""


def label(value: object, *, is_declared: bool = False) -> str:
    """Return any object as the text of a label: with `?` for a surrogate; the type's name where `__str__` raises.

    Args:
        value: The object.
        is_declared: Whether it is a name in the application's code, such as a route: only the logins of URLs are masked
            then, and no words that look like a password.
    """
    try:
        text = str.__str__(str(value))  # Not an instance of a subclass of str: its methods may do anything.
    except Exception:  # noqa: BLE001  # it is the application's
        text = type(value).__name__
    return encodable((without_logins if is_declared else without_passwords)(text)[:LABEL_LENGTH_MAX])


class Resolved(NamedTuple):
    """What is known of a unit at a moment.

    Attributes:
        name: Its name so far.
        code: The function that it runs; None if unknown.
        is_final: Whether neither will change.
    """

    name: str
    code: CodeType | None
    is_final: bool


Resolver: TypeAlias = Callable[[], Resolved]
"""Reads what is known so far of a request or the like. Called from any thread; it may raise."""


class UsesByUnit(Protocol):
    """What a unit needs of the table of a pool's uses."""

    def add(self, unit: "Unit", ns: int, /) -> None:
        """Add a use of *ns* nanoseconds."""


class Unit:
    """One unit of work, from its start to its end.

    Attributes:
        final_name: Its name once that cannot change any more; "" before.
        held: The state of the pool of each connection that it holds now, one entry a connection; before them those of
            the unit around it when this one began.
        is_done: Whether it has ended.
        is_long: Whether it may hold connections for long.
        outer: The unit around it, in which it began; None without one, and when it has ended. One that has ended in
            another context than its own keeps it: it is still current in that context.
        task: Returns the task in which it began; None without one, and when the task was collected.
        thread_id: The identifier of the thread in which it began; of the greenlet where gevent or eventlet have patched
            `threading`.
    """

    is_websocket: ClassVar[bool] = False
    """Whether it lasts for as long as a client stays, and handles each message in a task of its own."""

    is_declared: ClassVar[bool] = False
    """Whether its name is one in the application's code: a route, or the name of a task."""

    __slots__ = (
        "__weakref__",
        "_code",
        "_kept",
        "_kept_count",
        "_resolver",
        "final_name",
        "held",
        "is_done",
        "is_long",
        "outer",
        "task",
        "thread_id",
    )

    def __init__(
        self,
        name: object = "",
        code: CodeType | None = None,
        *,
        resolver: Resolver | None = None,
        is_long: bool = False,
    ) -> None:
        """Begin.

        Args:
            name: Its name; it becomes a label.
            code: The function that it runs.
            resolver: Says both later, in place of *name* and *code*.
            is_long: Whether it may hold connections for long.
        """
        self.final_name = "" if resolver is not None else self._label(name)
        outer = self.outer = running(current_unit.get())
        self.held: list[object] = [] if outer is None else outer.held[:]
        self.is_done, self.is_long = False, is_long
        self.task, self.thread_id = _running_task(), threading.get_ident()
        self._code, self._resolver = code, resolver
        #: The uses that ended before its name was final, each with the table that counts it.
        self._kept: dict[UsesByUnit, int] = {}
        self._kept_count = 0

    def __repr__(self) -> str:
        return f"<Unit {self.name!r}{' done' if self.is_done else ''}>"

    @property
    def name(self) -> str:
        """Its name as it is known now."""
        return self.final_name or self._label(self._resolve().name)

    @property
    def code(self) -> CodeType | None:
        """The function that it runs, as it is known now: an endpoint, a task or a decorated function."""
        return self._code if self.final_name else self._resolve().code

    def go_on(self) -> "Unit":
        """Go on in the running task and thread, as if it had begun there; return itself."""
        self.task, self.thread_id = _running_task(), threading.get_ident()
        return self

    def settled_name(self) -> str:
        """Return its name if that is final; "" before."""
        if not self.final_name:
            self._resolve()
        return self.final_name

    def keep(self, uses: UsesByUnit, ns: int) -> None:
        """Keep a use of *ns* nanoseconds, and add it to *uses* at the end, when the name is final."""
        self._kept[uses] = self._kept.get(uses, 0) + ns
        self._kept_count += 1
        if self._kept_count == KEPT_MAX:  # As of a connection that stays open and has no route.
            self._settle(self._resolve())

    def end(self) -> None:
        """Keep name and code, and drop the application's objects. Ending twice does nothing; it never raises."""
        if not self.final_name:
            self._settle(self._resolve())
        self.is_done, self._resolver, self.outer = True, None, None
        kept, self._kept = self._kept, {}
        for uses, ns in kept.items():
            uses.add(self, ns)

    def _resolve(self) -> Resolved:
        resolver = self._resolver
        if resolver is None:  # Ended by another thread meanwhile.
            return Resolved(self.final_name or NO_UNIT, self._code, is_final=True)
        try:
            found = resolver()
        except Exception as error:  # noqa: BLE001  # the application's objects may do anything
            errors.report(error)
            return Resolved(NO_UNIT, None, is_final=False)
        if found.is_final:
            self._settle(found)
        return found

    def _settle(self, found: Resolved) -> None:
        self._code, self.final_name = found.code, self._label(found.name)

    def _label(self, name: object) -> str:
        return label(name, is_declared=self.is_declared) or NO_UNIT


current_unit: Final[ContextVar[Unit | None]] = ContextVar("pool_exporter_unit", default=None)
"""The unit that runs in the present context."""


def running(unit: Unit | None) -> Unit | None:
    """Return *unit*, or the first one around it that has not ended; None if there is none."""
    while unit is not None and unit.is_done:
        unit = unit.outer
    return unit


def leave(unit: Unit, token: "Token[Unit | None]") -> None:
    """End *unit*, and put back the unit around it, if this is the context in which *token* was made."""
    outer = unit.outer
    unit.end()
    try:
        current_unit.reset(token)
    except ValueError:  # A generator or coroutine that is dropped is closed in any context.
        unit.outer = outer


def innermost(unit: Unit) -> Unit:
    """Return the unit that runs inside *unit* where its code stops, as of a `with` around a `yield`; or *unit* itself.

    Args:
        unit: A unit that was made current when the code went on.
    """
    current = current_unit.get()
    return unit if current is None or current.is_done else current


def _running_task() -> Callable[[], object]:
    """Return a weak reference to the running task; outside of one, a function that returns None."""
    loop = _get_running_loop()
    task = None if loop is None else current_task(loop)
    try:
        return _no_task if task is None else ref(task)
    except TypeError:  # A task factory may make objects of any kind.
        return _no_task


def _no_task() -> None:
    """Stand in for the weak reference to a task."""
