"""The errors name the key, its value and what is allowed, a line each; no password is in one."""

import pickle
import traceback

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pool_exporter.errors import (
    SHOWN_CHARACTERS_MAX,
    CorruptFile,
    PoolExporterError,
    Problem,
    SettingsError,
    masked,
)

SECRET = "Zq9"

# Characters that a password in a URL must not have, and has. The secret is between them, to be found again.
passwords = st.lists(st.sampled_from("@:/?#&=%[] +'\"\\\n"), max_size=4).map(
    lambda marks: SECRET + SECRET.join(["", *marks, ""])
)

PROBLEM = Problem("DB_POOL_SIZE", "many", "must be a whole number")
ANOTHER = Problem("POOL_EXPORTER_DIRR", None, "did you mean POOL_EXPORTER_DIR?")


def test_one_problem_is_one_line() -> None:
    """A single wrong setting is one line: key, value as given, what is allowed."""
    assert "DB_POOL_SIZE='many': must be a whole number" == str(SettingsError(PROBLEM))


def test_several_problems_are_a_line_each() -> None:
    """Several are a number, then a line each in the order given; one without a value shows none."""
    expected = (
        "2 settings are wrong:\n"
        "  DB_POOL_SIZE='many': must be a whole number\n"
        "  POOL_EXPORTER_DIRR: did you mean POOL_EXPORTER_DIR?"
    )

    assert expected == str(SettingsError(PROBLEM, ANOTHER))


def test_line_breaks_of_a_value_stay_in_its_line() -> None:
    """A value with control characters cannot forge a line of the message."""
    assert "KEY='a\\nb\\x1b[0m': x" == str(SettingsError(Problem("KEY", "a\nb\x1b[0m", "x")))


def test_long_value_is_cut() -> None:
    """A value is shown up to a limit, whatever it is."""
    assert "x" * SHOWN_CHARACTERS_MAX == Problem("KEY", "x" * 100_000, "shorter").value


def test_settings_error_needs_a_problem() -> None:
    """An error without a problem cannot be made."""
    with pytest.raises(TypeError, match="at least one problem"):
        SettingsError()


@pytest.mark.parametrize("error", [SettingsError(PROBLEM, ANOTHER), CorruptFile("/run/pool/w-1.pool", "bad magic")])
def test_errors_survive_pickling(error: PoolExporterError) -> None:
    """An error that a worker process raised arrives in its parent with all that it carries."""
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  # of the line itself

    assert type(error) is type(copy)
    assert vars(error) == vars(copy)
    assert str(error) == str(copy)


def test_corrupt_file_names_path_and_fault() -> None:
    """The error names the file and what is wrong with it."""
    error = CorruptFile("/run/pool/w-1.pool", "is 12 bytes long, its header alone has 64")

    assert "/run/pool/w-1.pool: is 12 bytes long, its header alone has 64" == str(error)
    assert ("/run/pool/w-1.pool", "is 12 bytes long, its header alone has 64") == (error.path, error.fault)


def test_hierarchy() -> None:
    """One except clause catches all of the package; a wrong setting is a ValueError besides, a corrupt file is not."""
    assert issubclass(SettingsError, PoolExporterError)
    assert issubclass(CorruptFile, PoolExporterError)
    assert issubclass(SettingsError, ValueError)
    assert not issubclass(CorruptFile, ValueError)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+asyncpg://u:Zq9@h:5432/d", "postgresql+asyncpg://u:***@h:5432/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://:Zq9@h/d", "postgresql://:***@h/d"),
        ("postgresql://h:5432/d", "postgresql://h:5432/d"),
        ("postgresql://u:Zq9@[::1]:5432/d", "postgresql://u:***@[::1]:5432/d"),
        ("postgresql://u:Zq9@h/d?password=Zq9", "postgresql://u:***@h/d?***"),
        ("postgresql:///d?host=/run/postgresql", "postgresql:///d?***"),
        ("postgresql://u:Zq9@Zq9@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:Zq9?Zq9@h/d", "postgresql://***"),
        ("postgresql://u/u:Zq9@h/d", "postgresql://u/u:***@h/d"),
        ("postgresql://u:Zq9", "postgresql://u:***"),
        ("sqlite:////data/a:b@c.db", "sqlite:////data/a:b@c.db"),
        ("sqlite+aiosqlite://", "sqlite+aiosqlite://"),
        ("sqlite+pysqlcipher://:Zq9@/app.db?cipher=aes", "sqlite+pysqlcipher://:***@/app.db?***"),
        ("u:Zq9@h/d?next=http://x", "***"),
        ("postgresql:/u:Zq9@h", "***"),
        ("host=h password=Zq9", "***"),
        ("Zq9", "***"),
        ("", "***"),
    ],
)
def test_masked(url: str, expected: str) -> None:
    """What is certainly no password is shown, and the rest is not."""
    assert expected == masked(url)


@given(
    password=passwords,
    form=st.sampled_from(
        [
            "postgresql://user:{}@host/name",
            "postgresql://user:{}@host:port/name",
            "postgresql://user:{}@",
            "postgresql:/user:{}@host",
            "postgresql//user:{}@host",
            "user:{}@host",
            "://user:{}@host",
            "postgresql://host/name?password={}",
            "postgresql://host:1/name?x=y&PASSWORD={}&z=1",
            "mysql://user:{}@host/name?ssl_key_password={}",
            "postgresql://[user:{}@host",
            "host=host password={} user=user",
            "{}",
        ]
    ),
)
@example(password="Zq9@Zq9", form="postgresql://host:1/name?password={}")
def test_no_password_is_shown(password: str, form: str) -> None:
    """No piece of a password is in a Problem or the error around it, wherever in the text, however badly quoted."""
    text = form.replace("{}", password)
    error = SettingsError(Problem("DATABASE_URL", text, "must be a URL"), ANOTHER)
    texts = [masked(text), str(error), repr(error), *traceback.format_exception(error), repr(vars(error))]

    assert [] == [shown for shown in texts if SECRET in shown]


@given(password=passwords)
def test_url_under_a_wrong_key_is_masked(password: str) -> None:
    """A URL that was put under another key has a password all the same."""
    assert SECRET not in str(Problem("DB_POOL_SIZE", f"postgresql://user:{password}@host/name", "must be a number"))


def test_shown_password_would_be_found() -> None:
    """The search above would find a secret: a text under a key that is not a URL's is shown."""
    assert SECRET in str(Problem("DB_POOL_SIZE", SECRET, "must be a number"))
