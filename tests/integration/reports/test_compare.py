"""readings.json has what the four installed tools read."""

import json
from collections.abc import Iterator

import pytest

from tests.fixtures.postgres import PostgresServer, postgres_server
from tests.integration.reports.compare import LIMIT, READINGS, SITUATIONS, readings


@pytest.fixture(name="small", scope="module")
def _small() -> Iterator[PostgresServer]:
    """One server that allows few connections."""
    with postgres_server(max_connections=LIMIT) as server:
        yield server


@pytest.mark.reports
@pytest.mark.parametrize("situation", SITUATIONS)
def test_readings_are_up_to_date(small: PostgresServer, situation: str) -> None:
    """Each tool reads what is committed; `python -m tests.integration.reports.compare` reads again."""
    committed = json.loads(READINGS.read_text())["readings"]

    assert committed[situation] == readings(situation, small.url("psycopg").render_as_string())
