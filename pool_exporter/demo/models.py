"""The tables of the demo's service, and the bodies of its requests and responses. This module has no query.

The names of the tables begin with `pool_exporter_demo`, so that they do not clash with tables of the user's database.
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
    """The base of both tables: their metadata is apart from that of all other SQLModel classes in the process."""

    metadata = MetaData()


class UserCreate(SQLModel):
    """A user in a request."""

    name: str = Field(min_length=1, max_length=NAME_LENGTH_MAX)
    email: Annotated[str, StringConstraints(max_length=EMAIL_LENGTH_MAX, pattern=r"^[^@\s]+@[^@\s]+$")]


class UserPublic(UserCreate):
    """A user in a response."""

    id: int


class User(Table, table=True):
    """A row of the users."""

    __tablename__ = "pool_exporter_demo_users"

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(max_length=NAME_LENGTH_MAX)
    email: str = Field(max_length=EMAIL_LENGTH_MAX, unique=True)


class OrderCreate(SQLModel):
    """An order in a request; prices are in cents."""

    user_id: int
    item: str = Field(min_length=1, max_length=NAME_LENGTH_MAX)
    quantity: int = Field(ge=1, le=QUANTITY_MAX)
    price_cents: int = Field(ge=0, le=PRICE_CENTS_MAX)


class OrderPublic(OrderCreate):
    """An order in a response."""

    id: int
    total_cents: int


class Order(Table, table=True):
    """A row of the orders."""

    __tablename__ = "pool_exporter_demo_orders"

    id: int | None = Field(default=None, primary_key=True)
    user_id: int = Field(foreign_key=f"{User.__tablename__}.id", index=True)
    item: str = Field(max_length=NAME_LENGTH_MAX)
    quantity: int
    price_cents: int

    @property
    def total_cents(self) -> int:
        """The price of the whole order, in cents."""
        return self.quantity * self.price_cents


class Account(SQLModel):
    """A user, and the number and sum of its orders."""

    user: UserPublic
    orders: int
    total_cents: int


class Report(SQLModel):
    """The number and sum of all orders."""

    orders: int
    total_cents: int


async def create_tables(engine: AsyncEngine) -> None:
    """Create the tables that do not exist yet."""
    async with engine.begin() as connection:
        await connection.run_sync(Table.metadata.create_all)
