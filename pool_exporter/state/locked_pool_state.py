"""The same state machine for interpreters without a GIL, and for CPython 3.10, where each transition needs a lock.

Compiled code lets no signal handler and no other thread run between two stores: then 3.10 needs no lock either.

The lock is an RLock, because SQLAlchemy returns a lost connection from a finalizer, which runs on the thread that
happens to allocate: that may be one that is inside a transition already. It is taken by `with`, so that no asynchronous
exception can leave it held. Nothing here may count what `PoolState` does not: both leave the same numbers.
"""

import sys
from collections.abc import Callable
from functools import update_wrapper
from threading import RLock
from typing import Concatenate, ParamSpec, TypeVar
from weakref import ref

from pool_exporter.state import layout
from pool_exporter.state.connection import NO_CALLER, Caller, Connection, Reference, Token
from pool_exporter.state.layout import Slots
from pool_exporter.state.pool_slots import IS_COMPILED, UNLIMITED
from pool_exporter.state.pool_state import PoolState
from pool_exporter.state.unit_uses import Unit

P = ParamSpec("P")
R = TypeVar("R")


class _TokenHolder:
    """Exists as long as a `_Token`, which cannot be referenced weakly itself: so it is found when a token is lost."""

    __slots__ = ("__weakref__",)


class _Token(int):
    """The token of an acquire; its holder is collected with it."""

    holder: _TokenHolder


class LockedPoolState(PoolState):
    """A PoolState that runs one public method at a time.

    CPython 3.10 lets a signal handler raise after any call and at any jump that is taken. So the methods that begin and
    end an acquire have neither between their stores. And the caller's token may be lost before it is stored: then
    `end_lost_acquires` ends the acquire.
    """

    def __init__(self, clock: Callable[[], int], limit: int = UNLIMITED, slots: Slots | None = None) -> None:
        self.lock = RLock()
        #: The plain token of each pending caller, by the reference to the holder of the token that it has.
        self._tokens: dict[ref[_TokenHolder] | None, int] = {}
        super().__init__(clock, limit, slots)

    def abandon_slots(self) -> None:
        """Replace the lock, then abandon the slots: a thread that does not exist here may hold the old one."""
        self.lock = RLock()
        super().abandon_slots()

    def acquire_started(self, unit: Unit | None = None) -> int:
        """Note that a caller wants a connection, and return its token, as `PoolState` does."""
        with self.lock:
            slots, now, free = self.slots, self.clock() - self.origin, self._free_pending_slots
            if unit is not None and self in unit.held and self.is_nested(self, unit):
                slots[layout.NESTED] += 1
            peak, at = max(self.pending_peak, self.pending + 1), len(free) - 1
            plain = free[at] if free else -now
            token, holder = _Token(plain), _TokenHolder()
            token.holder, reference = holder, ref(holder)
            if plain > 0:
                at = free.index(plain, at)  # The garbage collector may have ended an acquire since, and freed a slot.
                del free[at]
                slots[plain] = now
            else:
                slots[layout.UNTRACKED_PENDING] += 1
                slots[layout.UNTRACKED_PENDING_SINCE] += now
            self._tokens[reference] = plain
            self.pending += 1
            self.pending_peak = slots[layout.PENDING_PEAK] = peak
            return token

    def acquired(
        self, token: Token, connection: Connection, checkout: Reference, caller: Caller = NO_CALLER, since: int = -1
    ) -> int:
        """End the acquire of *token* with *connection*, and begin its use, as `PoolState` does."""
        with self.lock:
            reference, untracked = _reference(token), self.slots[layout.UNTRACKED_PENDING]
            try:
                wait = super().acquired(token, connection, checkout, caller, since)
            except BaseException:
                self._end_interrupted(reference, untracked)
                raise
            if reference is not None:
                del self._tokens[reference]
            return wait

    def acquire_abandoned(self, token: int) -> None:
        """End an acquire without counting a result, unless it has ended."""
        with self.lock:
            self._end(_reference(token))

    def end_lost_acquires(self) -> None:
        """End the acquires whose token is gone: an interrupt came before `connect()` had it, and ended the call."""
        with self.lock:
            for reference in list(self._tokens):
                if reference is not None and reference() is None:
                    self._end(reference)

    def _end(self, reference: "ref[_TokenHolder] | None") -> None:
        token, slots = self._tokens.get(reference), self.slots
        if token is not None:
            self.waiting.pop(token, None)
        if token is not None and token > 0:
            self.pending -= 1
            slots[token] = 0
            del self._tokens[reference]
            self._free_pending_slots.append(token)
        elif token is not None:
            self.pending -= 1
            slots[layout.UNTRACKED_PENDING] -= 1
            slots[layout.UNTRACKED_PENDING_SINCE] += token
            del self._tokens[reference]

    def _end_interrupted(self, reference: "ref[_TokenHolder] | None", untracked: int) -> None:
        """End what is left of an acquire after an error in `acquired`, before which there were *untracked* callers."""
        token = self._tokens.get(reference)
        if token is None or (self.slots[token] if token > 0 else self.slots[layout.UNTRACKED_PENDING] == untracked):
            self._end(reference)
            return
        del self._tokens[reference]
        if token > 0 and token not in self._free_pending_slots:
            self._free_pending_slots.append(token)


def _reference(token: int | None) -> "ref[_TokenHolder] | None":
    """Return the reference to the holder of *token*, which is a `_Token`; None if there is no token."""
    return None if token is None else ref(token.holder)  # type: ignore[attr-defined]  # a `_Token` has it


def _locked(method: Callable[Concatenate[LockedPoolState, P], R]) -> Callable[Concatenate[LockedPoolState, P], R]:
    def locked(self: LockedPoolState, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.lock:
            return method(self, *args, **kwargs)

    update_wrapper(locked, method)
    return locked


for _name in set(dir(PoolState)) - set(vars(LockedPoolState)):  # So no method can be forgotten.
    if not _name.startswith("_") and callable(getattr(PoolState, _name)):
        setattr(LockedPoolState, _name, _locked(getattr(PoolState, _name)))


def pool_state(clock: Callable[[], int], limit: int = UNLIMITED, slots: Slots | None = None) -> PoolState:
    """Return the state machine of a new pool, locked where there is no GIL, and in Python code on 3.10.

    There CPython switches threads at any jump.
    """
    has_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: IS_COMPILED or sys.version_info >= (3, 11))
    return (PoolState if has_gil() else LockedPoolState)(clock, limit, slots)
