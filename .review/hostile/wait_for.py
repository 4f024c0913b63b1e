"""orphaned: the connection is checked out inside asyncio.wait_for()/gather() and goes on in its session's healthy task."""
from h import *
import asyncio
from sqlalchemy.ext.asyncio import create_async_engine, AsyncSession
from sqlalchemy import text
async def main():
    e = create_async_engine("sqlite+aiosqlite://", poolclass=sqlalchemy.pool.AsyncAdaptedQueuePool); m = instrument(e)
    async with AsyncSession(e) as s:
        await asyncio.wait_for(s.execute(text("select 1")), 5)
        print("in the middle of a healthy transaction: orphaned", m.snapshot().orphaned, end=" ")
    async with AsyncSession(e) as s:
        await asyncio.gather(s.execute(text("select 1")))
        print("gather:", m.snapshot().orphaned)
    await e.dispose()
asyncio.run(main())
