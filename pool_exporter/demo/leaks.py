"""Two bugs that leak connections, as they are found in real services. The demo's service has both on purpose.

The metrics of leaked and orphaned connections show them, so they must not be fixed.
"""

from itertools import count

from fastapi import APIRouter, HTTPException, Request, status
from sqlmodel import SQLModel, col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from pool_exporter.demo.models import Order

router = APIRouter()


class Stats(SQLModel):
    """The number of orders."""

    orders: int


class Export(SQLModel):
    """The number of an export, by which it is ended."""

    id: int


class Exports:
    """Sessions that stay open from one request to the next, by number."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._sessions: dict[int, AsyncSession] = {}

    def add(self, session: AsyncSession) -> int:
        """Keep *session* open, and return the number of its export."""
        number = next(self._numbers)
        self._sessions[number] = session
        return number

    async def end(self, number: int) -> bool:
        """Close the session of one export; return whether there was one."""
        session = self._sessions.pop(number, None)
        if session is not None:
            await session.close()
        return session is not None

    async def close(self) -> None:
        """End every export."""
        for number in list(self._sessions):
            await self.end(number)


@router.get("/stats")
async def stats(request: Request) -> Stats:
    """Return the number of orders, and leak the connection.

    The bug: `async with` is missing. Only the garbage collector returns the connection to the pool.
    """
    connection = await request.app.state.engine.connect()
    orders = await connection.scalar(select(func.count(col(Order.id))))
    return Stats(orders=orders)


@router.post("/exports", status_code=status.HTTP_201_CREATED)
async def begin_export(request: Request) -> Export:
    """Start an export and keep its session until the client ends the export.

    The bug: if the client never does, the connection is used for ever, although the request that took it has ended.
    """
    session = request.app.state.sessions()
    await session.exec(select(func.count(col(Order.id))))
    return Export(id=request.app.state.exports.add(session))


@router.delete("/exports/{number}", status_code=status.HTTP_204_NO_CONTENT)
async def end_export(number: int, request: Request) -> None:
    """End an export and return its connection."""
    if not await request.app.state.exports.end(number):
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no export {number}")
