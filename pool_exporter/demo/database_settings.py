"""The database settings of the demo: DATABASE_URL and DB_*, from the environment and `.env`; the engine's arguments.

This module makes no engine and prints nothing. POOL_EXPORTER_* are read by environment.py.

* The environment wins over `.env`, key by key. A missing `.env` is fine, a malformed or unreadable one an error.
  `${NAME}` in `.env` is replaced, from the environment first. A directory named `.env` is ignored: it is a virtualenv.
* Blanks around a value are dropped, and an empty value is the same as an unset one, as in Compose files.
* Everything that is wrong is in one SettingsError. No text that is made here has the password of the URL.
"""

from __future__ import annotations

import io
from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from dotenv.parser import Binding, parse_stream
from dotenv.variables import parse_variables
from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from pool_exporter.database_url import A_URL, parse_url
from pool_exporter.errors import Problem, SettingsError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

A_DURATION = "must be seconds, at least 0"
A_SWITCH = "must be true or false (also 1/0, yes/no, on/off)"


# Sizes and timeout are SQLAlchemy's defaults. The ping hides a server's restart, and a load balancer that drops idle
# sessions, from the users. Half an hour is far below MySQL's wait_timeout (8 hours, or less where a host lowered it),
# bounds the memory of a PostgreSQL backend, and spreads pools over servers that came back.
SERVER_POOL = {"pool_size": 5, "max_overflow": 10, "pool_timeout": 30.0, "pool_pre_ping": True, "pool_recycle": 1800}
EngineArguments = dict[str, object]
"""Keyword arguments of create_engine()."""

QUEUE_ONLY = ("pool_size", "max_overflow", "pool_timeout")
ENGINE_FIELDS = (*QUEUE_ONLY, "pool_pre_ping", "pool_recycle", "echo")


def _checked(secret: SecretStr) -> SecretStr:
    parse_url(secret.get_secret_value())
    return secret


def _read(*keys: str, allowed: str, **limits: Any) -> Any:  # noqa: ANN401  # as pydantic's own Field()
    """Declare an optional setting: its keys, the first one that is set counts, and what is *allowed*, as text."""
    return Field(None, validation_alias=AliasChoices(*keys), description=allowed, **limits)


class DatabaseSettings(BaseSettings):
    """The settings, validated; None is unset. Made by `load()`, or from field names.

    The fields after `database_url` are named as in create_engine(). Durations are in seconds.
    """

    model_config = SettingsConfigDict(
        frozen=True, case_sensitive=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True
    )

    database_url: Annotated[SecretStr, AfterValidator(_checked)] | None = _read("DATABASE_URL", allowed=A_URL)
    pool_size: int | None = _read("DB_POOL_SIZE", allowed="must be a whole number from 0 (0: no limit)", ge=0)
    max_overflow: int | None = _read("DB_MAX_OVERFLOW", allowed="must be a whole number from -1 (-1: no limit)", ge=-1)
    pool_timeout: float | None = _read("DB_POOL_TIMEOUT", allowed=A_DURATION, ge=0, allow_inf_nan=False)
    pool_pre_ping: bool | None = _read("DB_POOL_PRE_PING", allowed=A_SWITCH)
    pool_recycle: int | None = _read("DB_POOL_RECYCLE", allowed="must be whole seconds from -1 (-1: never)", ge=-1)
    echo: bool | None = _read("DB_ECHO", allowed=A_SWITCH)

    @classmethod
    def load(cls, environ: Mapping[str, str], env_file: str | Path | None = ".env") -> DatabaseSettings:
        """Read the settings.

        Args:
            environ: The environment.
            env_file: The path of a `.env`; None for no file.

        Raises:
            SettingsError: Something in either is wrong. The error has all of it.
        """
        real = dict(environ)
        from_file, problems = _read_env_file(env_file, real)
        values = {key: value.strip() for given in (from_file, real) for key, value in given.items() if value.strip()}
        settings, invalid = _validate(cls, values)
        problems += invalid
        if settings is None or problems:
            raise SettingsError(*problems)
        return settings

    @property
    def url(self) -> URL | None:
        """Return the database URL as an object of SQLAlchemy, which masks its password when it is printed."""
        return None if self.database_url is None else parse_url(self.database_url.get_secret_value())

    @classmethod
    @override
    def settings_customise_sources(cls, *_: object, **sources: object) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use the arguments alone: pydantic-settings would read the environment at every construction."""
        return (cast("PydanticBaseSettingsSource", sources["init_settings"]),)


def engine_arguments(settings: DatabaseSettings, url: URL | None = None) -> EngineArguments:
    """Return the keyword arguments of create_engine() or create_async_engine() for a database.

    A setting wins over a default. The defaults are SERVER_POOL for servers, and SQLAlchemy's for files. The class of
    the pool is left to SQLAlchemy where its choice is right: psycopg has one for async engines and one for others.

    Args:
        settings: The settings.
        url: The engine's URL, as from async_url(), if it is not `settings.url`.

    Raises:
        SettingsError: There is no URL, or the pool of this database cannot have one of the settings.
    """
    from sqlalchemy.pool import QueuePool

    url = url or settings.url
    if url is None:
        raise SettingsError(Problem("DATABASE_URL", None, A_URL))
    explicit = {name: getattr(settings, name) for name in ENGINE_FIELDS if getattr(settings, name) is not None}
    if url.get_backend_name() == "sqlite":
        return _sqlite_pool(url, explicit) | explicit
    dialect: Any = url.get_dialect()
    if issubclass(pool := dialect.get_pool_class(url), QueuePool):
        return SERVER_POOL | explicit | _application_name(settings, url)
    _refuse(QUEUE_ONLY, explicit, f"cannot be set: the pool of {url.drivername} is a {pool.__name__}, without a size")
    return explicit


def _sqlite_pool(url: URL, explicit: EngineArguments) -> EngineArguments:
    from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool, SingletonThreadPool, StaticPool

    is_async = url.get_dialect().is_async
    if url.database in {None, "", ":memory:"} or url.query.get("mode") == "memory":
        fault = "cannot be set: the database is in memory, it lives in one connection and is lost with it"
        _refuse((*QUEUE_ONLY, "pool_recycle"), explicit, fault)
        # SQLAlchemy's own choice. Made by it from `mode=memory`, it is deprecated since 2.1.
        return {"poolclass": StaticPool if is_async else SingletonThreadPool}
    # SQLAlchemy before 2.0.38 used NullPool for files with aiosqlite, which has no size to set.
    return {"poolclass": AsyncAdaptedQueuePool if is_async else QueuePool} if explicit.keys() & {*QUEUE_ONLY} else {}


def _refuse(names: tuple[str, ...], explicit: EngineArguments, allowed: str) -> None:
    keys = {name: _keys(DatabaseSettings.model_fields[name])[0] for name in names if name in explicit}
    problems = [Problem(key, str(explicit[name]), allowed) for name, key in keys.items()]
    if problems:
        raise SettingsError(*problems)


def _application_name(settings: DatabaseSettings, url: URL) -> EngineArguments:
    if url.get_backend_name() != "postgresql" or "application_name" in url.query:
        return {}
    given = settings.url.query.get("application_name") if settings.url else None
    name = {"application_name": given or "pool_exporter_demo"}
    return {"connect_args": {"server_settings": name} if url.get_driver_name() == "asyncpg" else name}


def _validate(cls: type[DatabaseSettings], values: Mapping[str, str]) -> tuple[DatabaseSettings | None, list[Problem]]:
    source = EnvSettingsSource(cls)
    source.env_vars = values
    try:
        return cls(**source()), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    return None, [_problem(str(detail["loc"][0]), detail.get("ctx", {}).get("error"), values) for detail in details]


def _problem(key: str, cause: object, values: Mapping[str, str]) -> Problem:
    if isinstance(cause, SettingsError):
        return cause.problems[0]
    allowed = next(field.description for field in DatabaseSettings.model_fields.values() if key in _keys(field))
    return Problem(key, values[key], allowed or "")


def _keys(field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    return [str(key) for key in alias.choices] if isinstance(alias, AliasChoices) else []


def _read_env_file(path: str | Path | None, real: dict[str, str]) -> tuple[dict[str, str], list[Problem]]:
    try:
        text = "" if path is None else Path(path).read_text("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return {}, []
    except (OSError, UnicodeDecodeError) as error:
        return {}, [Problem(str(path), None, f"cannot be read: {getattr(error, 'strerror', 'it is not UTF-8 text')}")]
    bindings = list(parse_stream(io.StringIO(text)))
    # The line is named and not quoted: it may hold a secret.
    faults = [Problem(f"{path}, line {_line(b)}", None, "must be KEY=value or a comment") for b in bindings if b.error]
    return _interpolated(bindings, real), faults


def _line(binding: Binding) -> int:
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _interpolated(bindings: list[Binding], real: dict[str, str]) -> dict[str, str]:
    values: dict[str, str] = {}
    around = ChainMap(real, values)
    for binding in bindings:
        if binding.key is not None and binding.value is not None:
            values[binding.key] = "".join(atom.resolve(around) for atom in parse_variables(binding.value))
    return values
