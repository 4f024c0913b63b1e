"""Three mistakes that exhaust a pool, as they are found in real services. The demo's service has them on purpose.

Each is a shape of code that works as long as few requests come: a call to another service while a session is open, a
second session inside the first, and a blocking call in an event loop. The demo's reports name them, so that they must
not be corrected.
"""

import asyncio
import time
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from sqlmodel import SQLModel, col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from pool_exporter.demo.models import Order

SECONDS_MAX: Final = 5.0

router = APIRouter()

Seconds = Annotated[float, Query(ge=0, le=SECONDS_MAX)]


class Done(SQLModel):
    """The number of orders that there were."""

    orders: int


@router.post("/payments")
async def pay(request: Request, seconds: Seconds = 1.0) -> Done:
    """Charge an order.

    The mistake: the session, and with it a connection and a transaction, is open during the call of another service.
    """
    async with request.app.state.sessions() as session:
        orders = await _count(session)
        await call_payment_provider(seconds)
        await session.commit()
    return Done(orders=orders)


async def call_payment_provider(seconds: float) -> None:
    """Wait as long as a slow service needs for its answer."""
    await asyncio.sleep(seconds)


@router.post("/refunds")
async def refund(request: Request) -> Done:
    """Refund an order, and look into the audit log.

    The mistake: the audit log takes a second connection while the first is held. When every connection is held by such
    a request, none of them proceeds.
    """
    async with request.app.state.sessions() as session:
        orders = await _count(session)
        await asyncio.sleep(0)  # Other requests run, as they do at any `await` of a real service.
        return Done(orders=min(orders, await audited(request)))


async def audited(request: Request) -> int:
    """Return the number of entries in the audit log, by a session of its own."""
    async with request.app.state.sessions() as session:
        return await _count(session)


@router.get("/invoice")
async def invoice(seconds: Seconds = 0.5) -> Done:
    """Make an invoice.

    The mistake: the work blocks the event loop. Meanwhile no other request proceeds, and none returns its connection.
    """
    time.sleep(seconds)  # noqa: ASYNC251  # the mistake
    return Done(orders=0)


async def _count(session: AsyncSession) -> int:
    return (await session.exec(select(func.count(col(Order.id))))).one()
