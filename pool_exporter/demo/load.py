"""The load: callers that use the demo's service over HTTP, as its clients would. Nothing here knows the pool.

A caller is a loop: visit, pause, again, until its time is over. What it visits is a function of this module.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
from typing_extensions import Self

ANSWER_SECONDS_MAX = 5.0
"""A client that waits longer for an answer gives up, so that an exhausted service cannot hold up the demo."""

USERS = 20
ORDERS_MAX = 10_000
"""Enough for an hour. A demo that is left running for days does not fill the disk."""

Visit = Callable[["Load"], Awaitable[None]]


@dataclass(frozen=True)
class Callers:
    """A number of callers that all do the same, with a pause after each visit."""

    number: int
    visit: Visit
    pause_seconds: float = 0.0


@dataclass
class Tally:
    """What the callers have met with."""

    requests: int = 0
    failed: int = 0


class Load:
    """Calls the service at one URL. It is an asynchronous context manager, which closes its connections."""

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        # The client must not be a second, hidden pool in front of the one that is shown, nor go through a proxy.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._client = httpx.AsyncClient(
            base_url=url, transport=transport, limits=limits, timeout=ANSWER_SECONDS_MAX, trust_env=False
        )
        self._visits = count()
        self.tally = Tally()
        self.user_ids: list[int] = []
        self.exports: list[int] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    @property
    def visit_number(self) -> int:
        """A number that is new at every visit, by which visits differ."""
        return next(self._visits)

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401  # JSON
        """Return what the service answers; None when it gives nothing, an error or no answer in time."""
        self.tally.requests += 1
        try:
            response = await self._client.request(method, path, json=body)
        except httpx.HTTPError:
            self.tally.failed += 1
            return None
        if response.is_error:
            self.tally.failed += 1
            return None
        return response.json() if response.content else None

    async def run(self, seconds: float, *groups: Callers) -> None:
        """Let all callers go on for *seconds*; each finishes the visit that it is at."""
        end = asyncio.get_running_loop().time() + seconds
        # Each begins its own part of a pause later than the one before, so that they do not come in step.
        tasks = [
            asyncio.create_task(self._call_until(end, group, group.pause_seconds * number / group.number))
            for group in groups
            for number in range(group.number)
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _call_until(self, end: float, group: Callers, delay_seconds: float) -> None:
        now = asyncio.get_running_loop().time
        await asyncio.sleep(min(delay_seconds, max(0.0, end - now())))
        while now() < end:
            await group.visit(self)
            await asyncio.sleep(min(group.pause_seconds, max(0.0, end - now())))


async def sign_up(load: Load) -> None:
    """Add the users that the other visits are about, unless an earlier demo has left them."""
    for number in range(USERS):
        await load.call("POST", "/users", {"name": f"User {number}", "email": f"user{number}@example.org"})
    users = await load.call("GET", f"/users?limit={USERS}") or []
    load.user_ids = [user["id"] for user in users]
    load.tally = Tally()


async def browse(load: Load) -> None:
    """Look at one user, or order something at every fourth visit."""
    number = load.visit_number
    if not load.user_ids:
        await load.call("GET", "/users")
        return
    user_id = load.user_ids[number % len(load.user_ids)]
    if number % 4 or number > 4 * ORDERS_MAX:
        await load.call("GET", f"/users/{user_id}")
    else:
        await load.call("POST", "/orders", {"user_id": user_id, "item": "tea", "quantity": 2, "price_cents": 450})


def report(seconds: float) -> Visit:
    """Return the visit that asks for a report, which takes the database *seconds*."""

    async def visit(load: Load) -> None:
        await load.call("GET", f"/report?seconds={seconds}")

    return visit


async def forget(load: Load) -> None:
    """Ask for the statistics, which loses a connection."""
    await load.call("GET", "/stats")


async def begin_export(load: Load) -> None:
    """Begin an export and do not come back."""
    export = await load.call("POST", "/exports")
    if export is not None:
        load.exports.append(export["id"])


async def end_exports(load: Load) -> None:
    """Come back for every export that was begun."""
    while load.exports:
        await load.call("DELETE", f"/exports/{load.exports.pop()}")
