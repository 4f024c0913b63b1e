"""Whether a user's password is right, by bcrypt: what was right or wrong before is known, the rest is one at a time.

bcrypt is slow on purpose, so it runs in a thread of its own and never twice at once: a flood of guesses takes one
processor at most, and nothing from the event loop. A user that there is not costs the same time as one that there is.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import Final

KNOWN_MAX: Final = 100
"""So many right and so many wrong passwords are remembered: guesses do not push the right ones out."""
BYTES_MAX: Final = 72
"""bcrypt takes no more of a password; what htpasswd and Go make of a longer one is cut there, too."""

_NOBODY: Final = b"$2y$%s$" + b"fakefakefakefakefakefefakefakefakefakefakefakefakefak"
"""The hash of a user that there is not, at a cost to be filled in; no password has it."""


class BasicAuth:
    """What is known of passwords. Mutable, by one event loop; nothing in it can be turned back into a password."""

    def __init__(self) -> None:
        self.is_busy = False
        self._key = secrets.token_bytes(32)
        self._known: dict[bool, OrderedDict[bytes, None]] = {True: OrderedDict(), False: OrderedDict()}
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "pool_exporter passwords")

    async def is_right(self, users: Mapping[str, bytes], user: str, password: bytes) -> bool:
        """Tell whether *password* is the one of *user*, of whom *users*, which has at least one, has the hash."""
        hashed = users.get(user) or _nobody(users)
        digest = self._digest(user.encode(), hashed, password)
        if self._recall(digest) is None:
            async with self._turn:
                if self._recall(digest) is None:  # Who had the turn before may have asked the same.
                    await self._check(digest, hashed, password)
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

    async def _check(self, digest: bytes, hashed: bytes, password: bytes) -> None:
        self.is_busy = True
        try:
            is_right = await asyncio.get_running_loop().run_in_executor(self._thread, _compare, hashed, password)
        finally:
            self.is_busy = False
        known = self._known[is_right]
        known[digest] = None
        if len(known) > KNOWN_MAX:
            known.popitem(last=False)


def _compare(hashed: bytes, password: bytes) -> bool:
    import bcrypt

    try:
        return bcrypt.checkpw(password[:BYTES_MAX], hashed)
    except ValueError:  # An old bcrypt takes no NUL.
        return False


def _nobody(users: Mapping[str, bytes]) -> bytes:
    """Return a hash that costs as much as the dearest of *users*."""
    return _NOBODY % max(hashed.split(b"$")[2] for hashed in users.values())
