"""The private names of SQLAlchemy by which `check` and reports read settings of an engine. Each is optional.

Nothing here is on the path of a checkout, and `verify()` does not ask for these names: where one is missing, the
setting is unknown: its rules find nothing, and a report's text is searched for no password of it.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

_PASSWORDS: Final = ("password", "passwd", "pwd", "sslpassword")


def connect_arguments(pool: Pool, names: Iterable[str]) -> Mapping[str, object] | None:
    """Return those of the driver's connect arguments that have one of *names*; None where they cannot be read.

    `create_engine()` keeps all of them, the password too, in the closure of the function that opens connections. An
    application's own `creator` has no such closure.
    """
    creator = getattr(pool, "_creator", None)
    variables = getattr(getattr(creator, "__code__", None), "co_freevars", ())
    for name, cell in zip(variables, getattr(creator, "__closure__", None) or (), strict=False):
        if name == "cparams" and isinstance(cell.cell_contents, Mapping):
            return {key: cell.cell_contents[key] for key in names if key in cell.cell_contents}
    return None


def passwords_of(pool: Pool) -> tuple[str, ...]:
    """Return the passwords among the driver's connect arguments, to be removed from a message; none that is a user."""
    given = connect_arguments(pool, ("user", "username", *_PASSWORDS)) or {}
    users = (given.get("user"), given.get("username"), "", None)
    return tuple(str(given[name]) for name in _PASSWORDS if given.get(name) not in users)


def has_reset_listener(pool: Pool) -> bool:
    """Return whether the application resets returned connections itself, in a listener of the event `reset`."""
    return bool(getattr(pool.dispatch, "reset", ()))


def isolation_level(engine: Engine) -> str:
    """Return the isolation level that the engine was made with, such as "AUTOCOMMIT"; "" for the server's default."""
    given = engine.get_execution_options().get("isolation_level")
    level = given or getattr(engine.dialect, "_on_connect_isolation_level", None)
    return str(level or "").upper().replace("_", " ")
