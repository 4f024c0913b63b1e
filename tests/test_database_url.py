"""The server and the database of a URL: never a part of its password, which may have an unescaped @."""

from unittest.mock import Mock

import pytest
from sqlalchemy.engine import URL, make_url

from pool_exporter.database_url import database_of, server_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://u:p@h:1/d", ("h", "1", "d")),
        ("postgresql://u:p@h/d", ("h", "5432", "d")),
        ("mysql+pymysql://u:p@/d?host=h", ("h", "3306", "d")),
        ("postgresql:///d?host=a:1,b:2", ("a", "1", "d")),
        ("postgresql://", ("", "", "")),
        ("sqlite:////data/a@b.db", ("", "", "/data/a@b.db")),
        ("postgresql://u:p%40w@h/d", ("h", "5432", "d")),
    ],
)
def test_place(text: str, expected: tuple[str, str, str]) -> None:
    """Host, port and database are the URL's, with the server's default port; SQLite has only a file."""
    url = make_url(text)

    assert expected == (*server_of(url), database_of(url))


@pytest.mark.parametrize(
    "login",
    ["u:first@SECRET", "u:first@SECRET@SECRET", "u:first@SECRET/SECRET", "u:first@SECRET/SECRET@SECRET", "u@SECRET/x"],
)
@pytest.mark.parametrize("place", ["db:7/shop", "db/shop"])
@pytest.mark.parametrize("driver", ["postgresql+asyncpg", "mysql+pymysql"])
def test_no_part_of_a_password_is_a_place(driver: str, login: str, place: str) -> None:
    """After an unescaped @ in a password, which ends it for SQLAlchemy, no part of the password is in a name."""
    url = make_url(f"{driver}://{login}@{place}")
    host, port = server_of(url)

    assert ("db", "shop") == (host, database_of(url))
    assert port in {"7", "5432", "3306"}


def test_a_url_that_was_not_parsed() -> None:
    """A URL that was made from its parts gives the same."""
    url = URL.create("postgresql", "u", "p", host="SECRET@db", database="shop")

    assert (("db", "5432"), "shop") == (server_of(url), database_of(url))


def test_a_url_that_holds_no_text() -> None:
    """A mock as an engine's URL, as in the tests of applications, is no error."""
    url = Mock(query={})

    assert all(isinstance(part, str) for part in (*server_of(url), database_of(url)))
