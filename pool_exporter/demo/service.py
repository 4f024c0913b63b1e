"""The demo's service: users, orders and a slow report. It is written as any service, and does not know the demo.

The part of pool_exporter is in `create_app`: it instruments the engine and adds a route for the metrics.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, status
from fastapi.responses import JSONResponse
from sqlalchemy import ColumnElement, exc
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.routing import Route

from pool_exporter import UnitMiddleware, instrument, make_asgi_app, metrics_endpoint
from pool_exporter.demo import leaks, mistakes
from pool_exporter.demo.models import (
    Account,
    Order,
    OrderCreate,
    OrderPublic,
    Report,
    User,
    UserCreate,
    UserPublic,
    create_tables,
)

PAGE_MAX = 100
REPORT_SECONDS_MAX = 5.0
PAGES = ("/", "/-/healthy", "/-/ready", "/-/pools.json", "/-/runbooks/{name:path}", "/-/checks/{name:path}")

router = APIRouter()


def create_app(engine: AsyncEngine) -> FastAPI:
    """Return the service. It instruments *engine*, and disposes of it when it stops."""
    app = FastAPI(title="pool_exporter demo", lifespan=lifespan)
    app.state.engine = engine
    app.state.sessions = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
    app.state.exports = leaks.Exports()
    app.state.monitor = instrument(engine, name="demo")
    app.include_router(router)
    app.include_router(leaks.router)
    app.include_router(mistakes.router)
    app.add_middleware(UnitMiddleware)  # Reports and metrics name the request that holds a connection.
    app.add_route("/metrics", metrics_endpoint)
    pages = make_asgi_app(diagnosis=True)  # Nothing of the demo is secret: the page shows what holds the connections.
    # Mounted at /, the pages would get every path, and a wrong method would be a 404 instead of a 405.
    app.router.routes += [Route(path, pages) for path in PAGES]
    app.add_exception_handler(exc.TimeoutError, _unavailable)
    app.add_exception_handler(exc.DBAPIError, _unavailable)
    app.add_exception_handler(OSError, _unavailable)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Create the tables at the start; return and close every connection at the end."""
    try:
        await create_tables(app.state.engine)
        yield
    finally:
        await app.state.exports.close()
        await app.state.engine.dispose()


async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    """Open a session for one request, and roll back at its end what is not committed."""
    async with request.app.state.sessions() as session:
        try:
            yield session
        finally:
            # The response may have been sent. If the connection is broken by now, only the pool needs to know.
            with suppress(exc.DBAPIError):
                await session.rollback()


async def _unavailable(_: Request, error: Exception) -> JSONResponse:
    """Respond with 503 if the pool has timed out, or the database has failed."""
    return JSONResponse({"detail": type(error).__name__}, status.HTTP_503_SERVICE_UNAVAILABLE)


SessionDep = Annotated[AsyncSession, Depends(get_session)]


@router.post("/users", status_code=status.HTTP_201_CREATED)
async def create_user(user: UserCreate, session: SessionDep) -> UserPublic:
    """Add a user. Its address must be unique."""
    created = User(**user.model_dump())
    session.add(created)
    try:
        await session.commit()
    except exc.IntegrityError:
        raise HTTPException(status.HTTP_409_CONFLICT, "the address is taken") from None
    return UserPublic.model_validate(created, from_attributes=True)


@router.get("/users")
async def list_users(
    session: SessionDep, offset: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 20
) -> list[UserPublic]:
    """Return one page of the users."""
    users = await session.exec(select(User).order_by(col(User.id)).offset(offset).limit(limit))
    return [UserPublic.model_validate(user, from_attributes=True) for user in users]


@router.get("/users/{user_id}")
async def read_user(user_id: int, session: SessionDep) -> Account:
    """Return a user, and the number and sum of its orders."""
    user = await _existing_user(session, user_id)
    orders, total_cents = await _sums(session, col(Order.user_id) == user_id)
    public = UserPublic.model_validate(user, from_attributes=True)
    return Account(user=public, orders=orders, total_cents=total_cents)


@router.post("/orders", status_code=status.HTTP_201_CREATED)
async def create_order(order: OrderCreate, session: SessionDep) -> OrderPublic:
    """Add an order of an existing user."""
    await _existing_user(session, order.user_id)
    created = Order(**order.model_dump())
    session.add(created)
    await session.commit()
    return OrderPublic.model_validate(created, from_attributes=True)


@router.get("/orders/{order_id}")
async def read_order(order_id: int, session: SessionDep) -> OrderPublic:
    """Return one order."""
    order = await session.get(Order, order_id)
    if order is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no order {order_id}")
    return OrderPublic.model_validate(order, from_attributes=True)


@router.get("/report")
async def report(session: SessionDep, seconds: Annotated[float, Query(ge=0, le=REPORT_SECONDS_MAX)] = 0.5) -> Report:
    """Return the totals of all orders, with a query for which the database needs *seconds*."""
    sleep = func.pg_sleep if session.get_bind().dialect.name == "postgresql" else func.sleep
    await session.exec(select(sleep(seconds)))
    orders, total_cents = await _sums(session)
    return Report(orders=orders, total_cents=total_cents)


async def _existing_user(session: AsyncSession, user_id: int) -> User:
    user = await session.get(User, user_id)
    if user is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no user {user_id}")
    return user


async def _sums(session: AsyncSession, *conditions: ColumnElement[bool]) -> tuple[int, int]:
    """Return the number of orders that meet the conditions, and their sum in cents."""
    total = func.coalesce(func.sum(col(Order.quantity) * col(Order.price_cents)), 0)
    sums = await session.exec(select(func.count(col(Order.id)), total).where(*conditions))
    orders, total_cents = sums.one()
    return orders, total_cents
