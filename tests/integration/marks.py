"""Marks of the tests in several modules."""

import pytest

ASYNC_DRIVERS = pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])

# A driver warns of a connection that is dropped while it is open. SQLAlchemy drops those of a pool that was disposed of
# with connections out, and what was detached from a pool of async psycopg, which it does not know how to end.
DROPPED = pytest.mark.filterwarnings(
    "ignore:.*was deleted while still open:ResourceWarning", "ignore:unclosed connection:ResourceWarning"
)
