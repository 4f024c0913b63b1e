"""The demo's service is set up right: `check` finds no error in it, on each kind of database that it can have."""

from pathlib import Path

import pytest
from pydantic import SecretStr

import pool_exporter
from pool_exporter.demo.database import Database
from pool_exporter.demo.database_settings import DatabaseSettings
from pool_exporter.demo.service import create_app

URLS = ("postgresql://app:secret@db.internal/shop", "mysql://app:secret@db.internal/shop")


@pytest.mark.parametrize("url", [None, *URLS])
def test_the_demo_has_no_error(url: str | None, tmp_path: Path) -> None:
    """Neither the engine nor the sessions have one."""
    settings = DatabaseSettings(database_url=None if url is None else SecretStr(url))
    app = create_app(Database.choose(settings, tmp_path).engine())
    found = pool_exporter.check(app.state.engine, sessionmaker=app.state.sessions)
    app.state.monitor.close()

    assert [] == [str(each) for each in found if each.severity == "error"]
