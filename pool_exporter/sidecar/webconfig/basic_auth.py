"""Password checks by bcrypt. Results are remembered; a password that is not remembered is checked in a thread.

bcrypt is slow on purpose. So one check runs at a time, in a thread of its own: a flood of guesses takes at most one
processor, and no time of the event loop. At most `WAITING_MAX` checks wait, so that guesses do not take all client
connections. Each check takes the time of the costliest hash, whether the user exists or not, so that the time does not
reveal which users exist.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import Final

KNOWN_MAX: Final = 100
"""How many right passwords are remembered, and how many wrong ones: guesses do not displace the right ones."""
WAITING_MAX: Final = 16
"""Half of the client connections that there may be."""
BYTES_MAX: Final = 72
"""bcrypt uses no more of a password; htpasswd and Go cut a longer one here, too."""

_DUMMY_HASH: Final = b"$2y$%02d$" + b"fakefakefakefakefakefefakefakefakefakefakefakefakefak"
"""A hash with a cost to be filled in; it is the hash of no password."""


class TooManyChecks(Exception):
    """WAITING_MAX password checks wait already: the client may repeat its request later."""


class BasicAuth:
    """The checks and their remembered results. Used by the event loop's thread only. It keeps no password.

    Attributes:
        is_busy: Whether a check is running in the thread.
    """

    def __init__(self) -> None:
        self.is_busy = False
        self._key = secrets.token_bytes(32)
        self._known: dict[bool, OrderedDict[bytes, None]] = {True: OrderedDict(), False: OrderedDict()}
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, "pool_exporter passwords")

    async def is_right(self, users: Mapping[str, bytes], user: str, password: bytes) -> bool:
        """Return whether a password is a user's.

        Args:
            users: The users and the hashes of their passwords; at least one.
            user: The name that the client sent.
            password: The password that the client sent.

        Raises:
            TooManyChecks: The password is not remembered, and too many checks wait before it.
        """
        cost_max = max(map(_cost, users.values()))
        hashed = users.get(user) or _DUMMY_HASH % cost_max
        digest = self._digest(user.encode(), hashed, password)
        if self._recall(digest) is None:
            if self._waiting >= WAITING_MAX:
                raise TooManyChecks(f"{WAITING_MAX} password checks wait already; repeat the request later")
            self._waiting += 1
            try:
                await self._check_in_turn(digest, hashed, password, cost_max)
            finally:
                self._waiting -= 1
        return bool(self._recall(digest)) and user in users

    def _digest(self, *parts: bytes) -> bytes:
        text = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return blake2b(text, key=self._key, digest_size=32).digest()

    def _recall(self, digest: bytes) -> bool | None:
        for is_right, known in self._known.items():
            if digest in known:
                known.move_to_end(digest)
                return is_right
        return None

    async def _check_in_turn(self, digest: bytes, hashed: bytes, password: bytes, cost_max: int) -> None:
        async with self._turn:
            if self._recall(digest) is not None:
                return  # Another request with the same password was checked in the meantime.
            self.is_busy = True
            try:
                loop = asyncio.get_running_loop()
                is_right = await loop.run_in_executor(self._thread, _check, hashed, password, cost_max)
            finally:
                self.is_busy = False
            known = self._known[is_right]
            known[digest] = None
            if len(known) > KNOWN_MAX:
                known.popitem(last=False)


def _check(hashed: bytes, password: bytes, cost_max: int) -> bool:
    """Check a password in the time that a hash of *cost_max* takes.

    A check takes 2**cost steps. With one more of each cost from the hash's own up to *cost_max* - 1, the sum is
    2**cost_max.
    """
    is_right = _is_hash_of(password, hashed)
    for cost in range(_cost(hashed), cost_max):
        _is_hash_of(password, _DUMMY_HASH % cost)
    return is_right


def _is_hash_of(password: bytes, hashed: bytes) -> bool:
    import bcrypt

    try:
        return bcrypt.checkpw(password[:BYTES_MAX], hashed)
    except ValueError:  # Old versions of bcrypt refuse a NUL.
        return False


def _cost(hashed: bytes) -> int:
    return int(hashed.split(b"$")[2])
