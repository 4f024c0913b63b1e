"""What a database URL says of the server to be probed; no text that comes of it has a password in it."""

import pickle
import sys

import pytest

from pool_exporter.errors import SettingsError
from pool_exporter.probe.target import engine_arguments, parse_target, parse_targets

SECRET = "geheim@:/%"
QUOTED = "geheim%40%3A%2F%25"


@pytest.mark.parametrize(
    ("url", "system", "address", "port", "drivername"),
    [
        ("postgresql://u@db/x", "postgresql", "db", "5432", "postgresql+asyncpg"),
        ("postgres://u@db:6000/x", "postgresql", "db", "6000", "postgresql+asyncpg"),
        ("postgresql+psycopg://u@db/x", "postgresql", "db", "5432", "postgresql+psycopg"),
        ("postgresql+asyncpg:///x?host=/run/pg", "postgresql", "/run/pg", "5432", "postgresql+asyncpg"),
        ("postgresql:///x", "postgresql", "localhost", "", "postgresql+asyncpg"),
        ("mysql://u@db/x", "mysql", "db", "3306", "mysql+aiomysql"),
        ("mariadb+asyncmy://u@db:1/x", "mariadb", "db", "1", "mariadb+asyncmy"),
        ("postgresql+asyncpg://u@db:6432/pgbouncer", "pgbouncer", "db", "6432", "postgresql+psycopg"),
    ],
)
def test_url_says_which_server(url: str, system: str, address: str, port: str, drivername: str) -> None:
    """System, address and port are the server's, as a pool would name them; the driver is an async one that works."""
    target = parse_target(url)

    assert (system, address, port) == target.identity.values()
    assert drivername == target.url.drivername
    assert (system == "pgbouncer") == target.is_bouncer


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [
        ("postgresql://u:geheim@db/x", "asyncpg", "postgres"),
        ("postgresql://u:geheim@db/pgbouncer", "psycopg", "pgbouncer"),
        ("mysql://u:geheim@db/x", "aiomysql", "mysql"),
        ("postgresql://u:geheim@db/x", "greenlet", "postgres"),
    ],
)
def test_driver_that_is_not_installed(url: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error comes at the start and says what to install; it does not come at each query."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SettingsError) as caught:
        parse_targets([url])

    assert f"needs {package}: pip install 'pool-exporter[{extra}]'" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_aliases_are_not_passed_to_the_driver() -> None:
    """Other names of the server are taken out of the URL before a driver sees them."""
    target = parse_target(
        "postgresql://u@db/x?pool_exporter_alias=primary:5432&pool_exporter_alias=10.0.0.1:6000&ssl=true"
    )

    assert (("primary", "5432"), ("10.0.0.1", "6000")) == target.identity.aliases
    assert {"ssl": "true"} == dict(target.url.query)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("nonsense", "must be a database URL"),
        ("sqlite:///orders.db", "must be of PostgreSQL, PgBouncer, MySQL or MariaDB, not of sqlite"),
        ("oracle://u@db/x", "must be of PostgreSQL"),
        ("postgresql+psycopg2://u@db/x", "must have an async driver"),
        ("mysql+pymysql://u@db/x", "must have an async driver"),
        ("postgresql+nodriver://u@db/x", "must begin with a dialect and driver"),
        ("postgresql://u@db/x?pool_exporter_alias=primary", "pool_exporter_alias must be host:port"),
        ("postgresql://u@db/x?sslcert=/c", "asyncpg has no sslcert"),
    ],
)
def test_url_that_no_probe_can_use(url: str, expected: str) -> None:
    """It is one clear error of the argument, not of an environment variable."""
    with pytest.raises(SettingsError) as caught:
        parse_targets([url])

    assert expected in str(caught.value)
    assert str(caught.value).startswith("--database-url")


def test_all_that_is_wrong_is_reported_at_once() -> None:
    """Two wrong URLs and one server twice are three problems."""
    with pytest.raises(SettingsError) as caught:
        parse_targets(["nonsense", "postgresql://u@db/x", "sqlite://", "postgresql://v@db:5432/y"])

    assert 3 == len(caught.value.problems)
    assert "is another URL of a server that is probed already" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{QUOTED}@db/x",
        f"postgresql://u:{QUOTED}@db/pgbouncer",
        f"mysql://u:{QUOTED}@db/x",
        f"postgresql://u@db/x?password={QUOTED}",
    ],
)
def test_password_is_in_no_text(url: str) -> None:
    """Neither printing a target nor an error that quotes the password shows it."""
    target = parse_target(url)
    texts = [repr(target), str(target), str(target.identity), repr([target])]
    texts += [target.without_secrets(f"FATAL: {secret} is wrong\nfor u") for secret in (SECRET, QUOTED)]

    assert [] == [text for text in texts if "geheim" in text]
    assert "FATAL: *** is wrong for u" == texts[-1]


def test_password_is_in_no_error() -> None:
    """A URL that is refused is shown without it, also after pickling."""
    with pytest.raises(SettingsError) as caught:
        parse_targets([f"oracle://u:{QUOTED}@db/x", f"postgresql://u:{QUOTED}@db/x", f"postgresql://u:{QUOTED}@db/y"])
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  # made by this test

    assert "geheim" not in repr(caught.value) + str(caught.value) + repr(copy)
    assert 2 == len(copy.problems)


def test_text_of_a_server_is_one_short_line() -> None:
    """A message of a server, however long, is one line of the log."""
    line = parse_target("postgresql://u@db/x").without_secrets("a\n\n b\t" + "c" * 10_000)

    assert (200, "a b ccc") == (len(line), line[:7])


@pytest.mark.parametrize("url", ["postgresql://u@db/x", "postgresql+psycopg://u@db/x"])
def test_postgresql_session_is_read_only(url: str) -> None:
    """The session is read-only, has a limit for its statements in milliseconds, and a name of its own."""
    arguments = str(engine_arguments(parse_target(url), 2.5))

    assert "default_transaction_read_only" in arguments
    assert "2500" in arguments
    assert "pool_exporter" in arguments
