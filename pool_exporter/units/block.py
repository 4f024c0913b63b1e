"""`unit()`: names a block or a function as a unit of work.

Each call of a decorated function is a unit of its own. Of a generator, the unit is current while the generator's own
code runs: what its consumer does between two steps is not part of it.
"""

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import suppress
from contextvars import Token
from types import TracebackType
from typing import Final, TypeAlias, TypeVar, cast

from pool_exporter.units.code import code_of
from pool_exporter.units.unit_of_work import Unit, current_unit, leave

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


class UnitBlock:
    """What `unit()` returns: each `with`, and each call of a decorated function, is a unit of its own."""

    def __init__(self, name: object, *, is_long: bool = False) -> None:
        self._name, self._is_long = name, is_long
        #: The units that were entered by `with` and not left.
        self._entered: list[tuple[Unit, Token[Unit | None]]] = []

    def __enter__(self) -> None:
        unit = Unit(self._name, is_long=self._is_long)
        self._entered.append((unit, current_unit.set(unit)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        running, entered = current_unit.get(), self._entered
        # Several threads or tasks may have entered one block; one that is left in another context has no unit there.
        own = next((each for each in reversed(entered) if each[0] is running), entered[-1])
        entered.remove(own)
        leave(*own)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: F) -> F:
        """Return *function* with each of its calls as a unit; of a generator, the time in which its own code runs."""
        begin = functools.partial(Unit, self._name, code_of(function), is_long=self._is_long)
        make = next((make for is_kind, make in _KINDS if is_kind(function)), _function)
        return cast("F", functools.update_wrapper(make(function, begin), function))


def _function(function: Function, begin: Callable[[], Unit]) -> Function:
    def call(*args: object, **kwargs: object) -> object:
        unit = begin()
        token = current_unit.set(unit)
        try:
            return function(*args, **kwargs)
        finally:
            leave(unit, token)

    return call


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
        value: object = None
        step: Callable[..., object] = generator.send
        try:
            while True:
                token = current_unit.set(unit)
                try:
                    yielded = step(value)
                except StopIteration as stop:
                    return stop.value
                finally:
                    current_unit.reset(token)
                try:
                    value, step = (yield yielded), generator.send
                except BaseException as error:  # noqa: BLE001  # GeneratorExit too: the generator handles it in its unit
                    value, step = error, generator.throw
        finally:
            unit.end()

    return call


def _asynchronous_generator_function(function: Function, begin: Callable[[], Unit]) -> Function:
    async def call(*args: object, **kwargs: object) -> AsyncGenerator[object, object]:
        unit, generator = begin(), cast("AsyncGenerator[object, object]", function(*args, **kwargs))
        value: object = None
        step: Callable[..., Awaitable[object]] = generator.asend
        try:
            while True:
                token = current_unit.set(unit)
                try:
                    yielded = await step(value)
                except StopAsyncIteration:
                    return
                finally:
                    with suppress(ValueError):  # It is closed in another context if it was dropped.
                        current_unit.reset(token)
                try:
                    value, step = (yield yielded), generator.asend
                except BaseException as error:  # noqa: BLE001  # as above
                    value, step = error, generator.athrow
        finally:
            unit.end()

    return call


_KINDS: Final[tuple[tuple[Callable[[object], bool], Callable[[Function, Callable[[], Unit]], Function]], ...]] = (
    (inspect.iscoroutinefunction, _coroutine_function),
    (inspect.isasyncgenfunction, _asynchronous_generator_function),
    (inspect.isgeneratorfunction, _generator_function),
)
"""How each kind of function is recognized and wrapped; any other callable is called as it is."""
