"""The tables of the demo's service, and what goes in and out of it over HTTP. No query may be here.

The tables' names begin with `pool_exporter_demo`, so that they harm none of a database that is somebody's own.
"""

from typing import Annotated

from pydantic import StringConstraints
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import Field, SQLModel

NAME_LENGTH_MAX = 100
EMAIL_LENGTH_MAX = 254
QUANTITY_MAX = 1_000
PRICE_CENTS_MAX = 10_000_000


class Table(SQLModel):
    """What both tables share: metadata of their own, apart from those of any other SQLModel of the process."""

    metadata = MetaData()


class UserCreate(SQLModel):
    """A user as a client sends it."""

    name: str = Field(min_length=1, max_length=NAME_LENGTH_MAX)
    email: Annotated[str, StringConstraints(max_length=EMAIL_LENGTH_MAX, pattern=r"^[^@\s]+@[^@\s]+$")]


class UserPublic(UserCreate):
    """A user as a client gets it."""

    id: int


class User(Table, table=True):
    """A user as it is stored."""

    __tablename__ = "pool_exporter_demo_users"

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(max_length=NAME_LENGTH_MAX)
    email: str = Field(max_length=EMAIL_LENGTH_MAX, unique=True)


class OrderCreate(SQLModel):
    """An order as a client sends it; prices are in cents."""

    user_id: int
    item: str = Field(min_length=1, max_length=NAME_LENGTH_MAX)
    quantity: int = Field(ge=1, le=QUANTITY_MAX)
    price_cents: int = Field(ge=0, le=PRICE_CENTS_MAX)


class OrderPublic(OrderCreate):
    """An order as a client gets it."""

    id: int
    total_cents: int


class Order(Table, table=True):
    """An order as it is stored."""

    __tablename__ = "pool_exporter_demo_orders"

    id: int | None = Field(default=None, primary_key=True)
    user_id: int = Field(foreign_key=f"{User.__tablename__}.id", index=True)
    item: str = Field(max_length=NAME_LENGTH_MAX)
    quantity: int
    price_cents: int

    @property
    def total_cents(self) -> int:
        """What the order costs."""
        return self.quantity * self.price_cents


class Account(SQLModel):
    """A user's orders together."""

    user: UserPublic
    orders: int
    total_cents: int


class Report(SQLModel):
    """All orders together."""

    orders: int
    total_cents: int


async def create_tables(engine: AsyncEngine) -> None:
    """Create the tables that are not there yet."""
    async with engine.begin() as connection:
        await connection.run_sync(Table.metadata.create_all)
