"""`unit()`: names a block or a function as a unit of work.

Each call of a decorated function is a unit of its own. Of a generator, the unit is current while the generator's own
code runs: what its consumer does between two steps is not part of it. A function that returns a new coroutine or
generator, as a wrapper of one does, has one unit for the call and for what it returns.
"""

import functools
import inspect
import sys
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import suppress
from contextvars import Token
from types import AsyncGeneratorType, CoroutineType, GeneratorType, TracebackType
from typing import Final, TypeAlias, TypeVar, cast
from weakref import ref

from pool_exporter.units.code import code_of
from pool_exporter.units.unit_of_work import Unit, current_unit, innermost, leave

Function: TypeAlias = Callable[..., object]
F = TypeVar("F", bound=Function)


def unit(name: str, *, long: bool = False) -> "UnitBlock":
    """Name a unit of work: the connections that are checked out in it are shown under this name.

    Args:
        name: The unit's name, a label: of a kind of work, never of a single one.
        long: Whether the unit may hold connections for long, such as a batch or a listener: a diagnosis then does not
            count them as a cause.

    Returns:
        A context manager, for `with` and `async with`, that is also a decorator for functions, coroutine functions and
        (asynchronous) generator functions. The innermost unit counts.

    Raises:
        TypeError: *name* is no text, such as a function: the decorator was used without a name; or *long* is no bool.

    Example:
        >>> with pool_exporter.unit("nightly-report"):
        ...     session.execute(query)
    """
    if not isinstance(name, str):
        raise TypeError(f'unit() takes a name, as in @unit("nightly-report"), not {type(name).__name__}')
    if not isinstance(long, bool):
        raise TypeError(f"long must be True or False, not {type(long).__name__}")
    return UnitBlock(name, is_long=long)


class _EnteredUnit(Unit):
    """A unit that was entered by `with`; its *token* is of the context in which it was entered, until it is left."""

    __slots__ = ("token",)
    token: Token[Unit | None] | None

    def leave(self) -> None:
        """End it, and drop the token: that has all values of its context, and a connection may keep this unit."""
        token, self.token = self.token, None
        if token is not None:  # Another thread has not done so.
            with suppress(RuntimeError):  # The thread in which it is current has just used the token.
                leave(self, token)


class UnitBlock:
    """What `unit()` returns: each `with`, and each call of a decorated function, is a unit of its own."""

    def __init__(self, name: object, *, is_long: bool = False) -> None:
        self._name, self._is_long = name, is_long
        #: As many entries as there are `with` blocks that are not left: for other threads, a change is one step.
        self._running: list[None] = []
        #: The units that have not ended. Held weakly: which one is left in another context may never be known.
        self._entered: list[ref[_EnteredUnit]] = []

    def __enter__(self) -> None:
        unit = _EnteredUnit(self._name, is_long=self._is_long)
        unit.token = current_unit.set(unit)
        self._running.append(None)  # First: a unit that is found has been counted.
        self._entered.append(ref(unit, self._forget))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        entered = [unit for each in self._entered[::-1] if (unit := each()) is not None]
        if not self._running:
            raise RuntimeError("this unit() was left more often than it was entered: use it in `with`")
        self._running.pop()
        own = _of_this_context(entered)
        if self._running:  # One that is left in another context is any of them: all end when the last is left.
            entered = [] if own is None else [own]
        for unit in entered:
            self._forget(ref(unit))
            unit.leave()

    def _forget(self, reference: ref[_EnteredUnit]) -> None:
        with suppress(ValueError):  # Another thread has done so.
            self._entered.remove(reference)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: F) -> F:
        """Return *function* with each of its calls as a unit; of a generator, the time in which its own code runs."""
        if isinstance(function, staticmethod | classmethod):  # As where this is above `@staticmethod`.
            return cast("F", type(function)(self(function.__func__)))
        begin = functools.partial(Unit, self._name, code_of(function), is_long=self._is_long)
        make = next((make for is_kind, make in _KINDS if is_kind(function)), _function)
        return cast("F", functools.update_wrapper(make(function, begin), function))


def _of_this_context(entered: list[_EnteredUnit]) -> _EnteredUnit | None:
    """Return the first of *entered* that was entered in this context, not in one of which it is a copy; None if none.

    Args:
        entered: Units that have not ended, the last one first.
    """
    current = current_unit.get()
    for unit in sorted(entered, key=lambda unit: unit is not current):
        token = unit.token
        if token is None:
            continue
        with suppress(ValueError, RuntimeError):  # Its token is of another context, or another thread has used it.
            current_unit.reset(token)
            unit.token = current_unit.set(unit)
            return unit
    return None


def _function(function: Function, begin: Callable[[], Unit]) -> Function:
    def call(*args: object, **kwargs: object) -> object:
        unit = begin()
        token, make = current_unit.set(unit), None
        try:
            result = function(*args, **kwargs)
            make = _wrapper_of(result)
        finally:
            if make is None:
                leave(unit, token)
        if make is None:
            return result
        current_unit.reset(token)
        return _named(make(_Result(result), unit.go_on), result)

    return call


def _wrapper_of(result: object) -> "_Make | None":
    """Return what wraps the function behind a coroutine or generator that has not begun; None for all else."""
    # By the exact type, of which there are no subclasses: `isinstance` would evaluate a lazy object of the application.
    if type(result) is CoroutineType:
        return _coroutine_function if inspect.getcoroutinestate(result) == inspect.CORO_CREATED else None
    if type(result) is GeneratorType and not result.gi_code.co_flags & inspect.CO_ITERABLE_COROUTINE:
        return _generator_function if inspect.getgeneratorstate(result) == inspect.GEN_CREATED else None
    return _asynchronous_generator_function if type(result) is AsyncGeneratorType else None


def _named(wrapped: Function, result: object) -> object:
    """Return what *wrapped* returns with the names of *result*, which tracebacks and tasks show."""
    made = wrapped()
    for attribute in ("__name__", "__qualname__"):
        setattr(made, attribute, getattr(result, attribute))
    return made


class _Result:
    """Returns a coroutine or generator that was made before. A coroutine is closed with it.

    So Python warns once if it is never awaited, and not at all if its wrapper is closed or cancelled before its start.
    """

    def __init__(self, result: object) -> None:
        self._result = result

    def __call__(self) -> object:
        return self._result

    def __del__(self) -> None:
        if type(self._result) is CoroutineType:
            self._result.close()


def _coroutine_function(function: Function, begin: Callable[[], Unit]) -> Function:
    async def call(*args: object, **kwargs: object) -> object:
        unit = begin()
        token = current_unit.set(unit)
        try:
            return await cast("Awaitable[object]", function(*args, **kwargs))
        finally:
            leave(unit, token)

    return call


def _generator_function(function: Function, begin: Callable[[], Unit]) -> Function:
    def call(*args: object, **kwargs: object) -> Generator[object, object, object]:
        unit, generator = begin(), cast("Generator[object, object, object]", function(*args, **kwargs))
        inside, value = unit, cast("object", None)
        step: Callable[..., object] = generator.send
        try:
            while True:
                token = current_unit.set(inside)
                try:
                    yielded = step(value)
                except StopIteration as stop:
                    return stop.value
                finally:
                    inside = innermost(unit)
                    current_unit.reset(token)
                try:
                    value, step = (yield yielded), generator.send
                except BaseException as error:  # noqa: BLE001  # GeneratorExit too: the generator handles it in its unit
                    value, step = error, generator.throw
        finally:
            value = None  # The traceback of an exception has this frame: a cycle would keep what the generator holds.
            unit.end()

    return call


def _generator_based_coroutine(function: Function, begin: Callable[[], Unit]) -> Function:
    return types.coroutine(_generator_function(function, begin))


def _is_generator_based_coroutine(function: object) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return bool(getattr(getattr(function, "__code__", None), "co_flags", 0) & inspect.CO_ITERABLE_COROUTINE)


def _asynchronous_generator_function(function: Function, begin: Callable[[], Unit]) -> Function:
    async def call(*args: object, **kwargs: object) -> AsyncGenerator[object, object]:
        unit, generator = begin(), cast("AsyncGenerator[object, object]", function(*args, **kwargs))
        inside, value = unit, cast("object", None)
        step: Callable[..., Awaitable[object]] = functools.partial(_first_step, generator)
        try:
            while True:
                token = current_unit.set(inside)
                try:
                    yielded = await step(value)
                except StopAsyncIteration:
                    return
                finally:
                    inside = innermost(unit)
                    with suppress(ValueError):  # It is closed in another context if it was dropped.
                        current_unit.reset(token)
                try:
                    value, step = (yield yielded), generator.asend
                except BaseException as error:  # noqa: BLE001  # as above
                    value, step = error, generator.athrow
        finally:
            value = None  # as above
            unit.end()

    return call


def _first_step(generator: AsyncGenerator[object, object], value: object) -> Awaitable[object]:
    """Begin a generator of which the event loop does not know: the end of its wrapper, which the loop knows, ends it.

    At its own end the loop closes all that it knows at once, and fails where two of them are one inside the other.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return generator.asend(value)
    finally:
        sys.set_asyncgen_hooks(*hooks)


_Make: TypeAlias = Callable[[Function, Callable[[], Unit]], Function]

_KINDS: Final[tuple[tuple[Callable[[object], bool], _Make], ...]] = (
    (inspect.iscoroutinefunction, _coroutine_function),
    (inspect.isasyncgenfunction, _asynchronous_generator_function),
    (_is_generator_based_coroutine, _generator_based_coroutine),  # Which are generator functions, too.
    (inspect.isgeneratorfunction, _generator_function),
)
"""How each kind of function is recognized and wrapped; any other callable is wrapped by what it returns."""
