"""The load: clients that call the demo's service over HTTP. This module does not know the pool.

A client repeats an action and a pause until its time is over. The actions are functions of this module.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
from typing_extensions import Self

ANSWER_SECONDS_MAX = 5.0
"""A client gives up after this time, so that an exhausted service cannot block the demo."""

PROVIDER_SECONDS = 1.2
INVOICE_SECONDS = 1.5

USERS = 20
ORDERS_MAX = 10_000
"""Enough for an hour, so that a demo that runs for days does not fill the disk."""

Action = Callable[["Load"], Awaitable[None]]


@dataclass(frozen=True)
class Clients:
    """A number of clients that repeat the same action, with a pause after each."""

    number: int
    action: Action
    pause_seconds: float = 0.0


@dataclass
class Tally:
    """How many requests the clients have sent, and how many of them have failed."""

    requests: int = 0
    failed: int = 0


class Load:
    """Calls the service at one URL. An asynchronous context manager, which closes its connections.

    Attributes:
        tally: The requests since it was replaced last.
        user_ids: The users that the actions are about.
        exports: The exports that have been started and not ended.
    """

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        # No limits: the HTTP client must not be a second pool before the one that is shown. It uses no proxy either.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._client = httpx.AsyncClient(
            base_url=url, transport=transport, limits=limits, timeout=ANSWER_SECONDS_MAX, trust_env=False
        )
        self._actions = count()
        self.tally = Tally()
        self.user_ids: list[int] = []
        self.exports: list[int] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    def next_number(self) -> int:
        """Return a number that is higher each time."""
        return next(self._actions)

    async def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401  # JSON
        """Return the JSON of the response; None if there is none, the response is an error or comes too late."""
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

    async def run(self, seconds: float, *groups: Clients) -> None:
        """Run all clients for *seconds*; each finishes its last action."""
        end = asyncio.get_running_loop().time() + seconds
        # Their starts are spread over one pause, so that they do not send their requests at the same moment.
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

    async def _call_until(self, end: float, group: Clients, delay_seconds: float) -> None:
        now = asyncio.get_running_loop().time
        await asyncio.sleep(min(delay_seconds, max(0.0, end - now())))
        while now() < end:
            await group.action(self)
            await asyncio.sleep(min(group.pause_seconds, max(0.0, end - now())))


async def sign_up(load: Load) -> None:
    """Create the users that the other actions are about, unless they exist from an earlier demo."""
    for number in range(USERS):
        await load.call("POST", "/users", {"name": f"User {number}", "email": f"user{number}@example.com"})
    users = await load.call("GET", f"/users?limit={USERS}") or []
    load.user_ids = [user["id"] for user in users]
    load.tally = Tally()


async def browse(load: Load) -> None:
    """Read one user or, every fourth time, create an order."""
    number = load.next_number()
    if not load.user_ids:
        await load.call("GET", "/users")
        return
    user_id = load.user_ids[number % len(load.user_ids)]
    if number % 4 or number > 4 * ORDERS_MAX:
        await load.call("GET", f"/users/{user_id}")
    else:
        await load.call("POST", "/orders", {"user_id": user_id, "item": "tea", "quantity": 2, "price_cents": 450})


def report(seconds: float) -> Action:
    """Return the action that requests a report, for which the database needs *seconds*."""

    async def request(load: Load) -> None:
        await load.call("GET", f"/report?seconds={seconds}")

    return request


async def leak_connection(load: Load) -> None:
    """Request the statistics, which leaks a connection."""
    await load.call("GET", "/stats")


async def begin_export(load: Load) -> None:
    """Start an export and do not end it."""
    export = await load.call("POST", "/exports")
    if export is not None:
        load.exports.append(export["id"])


async def pay(load: Load) -> None:
    """Charge an order, for which another service needs PROVIDER_SECONDS."""
    await load.call("POST", f"/payments?seconds={PROVIDER_SECONDS}")


async def refund(load: Load) -> None:
    """Refund an order."""
    await load.call("POST", "/refunds")


async def make_invoice(load: Load) -> None:
    """Request an invoice, which blocks the event loop for INVOICE_SECONDS."""
    await load.call("GET", f"/invoice?seconds={INVOICE_SECONDS}")


async def end_exports(load: Load, kept: int = 0) -> None:
    """End the exports that were started, but for a number that is kept."""
    while len(load.exports) > kept:
        await load.call("DELETE", f"/exports/{load.exports.pop()}")
