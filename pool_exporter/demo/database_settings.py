"""The environment, read once: what pool_exporter and its database are told from outside, and the engine that follows.

Here and nowhere else `os.environ` and `.env` are read. No engine is made here, no directory touched, nothing printed.
SQLAlchemy is imported only where a database URL is at hand, so that a sidecar without a probe never loads it.

* The real environment wins over `.env`, key by key. A missing `.env` is fine, a malformed or unreadable one an error.
  `${NAME}` in `.env` is replaced, from the environment first. A directory of that name is somebody's virtualenv.
* Blanks around a value are dropped, and an empty value is unset, as OpenTelemetry and Compose files have it.
* Other people's keys are ignored; an unknown `POOL_EXPORTER_*` is an error, unless Kubernetes put it there.
* All that is wrong is told in one SettingsError. The password of the URL is in no text that is made here.
"""

from __future__ import annotations

import io
import os
from collections import ChainMap
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

PREFIX = "POOL_EXPORTER_"
A_DURATION = "must be seconds, from 0"
A_SWITCH = "must be true or false (also 1/0, yes/no, on/off)"


# Sizes and timeout are SQLAlchemy's own defaults, spelt out. The ping keeps the users from a server's restart, and from
# a balancer that drops idle sessions. Half an hour, from the opening, is far below MySQL's wait_timeout (8 hours, less
# where a host lowered it), bounds what a PostgreSQL backend gathers, and spreads pools over servers that came back.
SERVER_POOL = {"pool_size": 5, "max_overflow": 10, "pool_timeout": 30.0, "pool_pre_ping": True, "pool_recycle": 1800}
QUEUE_ONLY = ("pool_size", "max_overflow", "pool_timeout")
ENGINE_FIELDS = (*QUEUE_ONLY, "pool_pre_ping", "pool_recycle", "echo")


def _checked(secret: SecretStr) -> SecretStr:
    parse_url(secret.get_secret_value())
    return secret


def _read(*keys: str, allowed: str, **limits: Any) -> Any:  # noqa: ANN401 -- as pydantic's own Field().
    """Declare an optional setting: the keys that it is read from, first come, and its rule in words."""
    return Field(None, validation_alias=AliasChoices(*keys), description=allowed, **limits)


class Settings(BaseSettings):
    """Hold everything that is set from outside, validated; None is unset. Made by `load()`, or from field names.

    The fields after `database_url` are named as in create_engine(). Durations are in seconds.
    """

    model_config = SettingsConfigDict(
        frozen=True, case_sensitive=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True
    )

    directory: Path | None = _read("POOL_EXPORTER_DIR", allowed="must be the path of a directory")
    service: str | None = _read("POOL_EXPORTER_SERVICE", "OTEL_SERVICE_NAME", allowed="must be a name")
    trace_waits: float | None = _read("POOL_EXPORTER_TRACE_WAITS", allowed=A_DURATION, ge=0, allow_inf_nan=False)
    database_url: Annotated[SecretStr, AfterValidator(_checked)] | None = _read("DATABASE_URL", allowed=A_URL)
    pool_size: int | None = _read("DB_POOL_SIZE", allowed="must be a whole number from 0 (0: no limit)", ge=0)
    max_overflow: int | None = _read("DB_MAX_OVERFLOW", allowed="must be a whole number from -1 (-1: no limit)", ge=-1)
    pool_timeout: float | None = _read("DB_POOL_TIMEOUT", allowed=A_DURATION, ge=0, allow_inf_nan=False)
    pool_pre_ping: bool | None = _read("DB_POOL_PRE_PING", allowed=A_SWITCH)
    pool_recycle: int | None = _read("DB_POOL_RECYCLE", allowed="must be whole seconds from -1 (-1: never)", ge=-1)
    echo: bool | None = _read("DB_ECHO", allowed=A_SWITCH)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, env_file: str | Path | None = ".env") -> Settings:
        """Read the environment, `os.environ` unless another is given, and `.env`.

        Raises SettingsError with everything that is wrong in either.
        """
        real = dict(os.environ if environ is None else environ)
        from_file, problems = _read_env_file(env_file, real)
        values = {key: value.strip() for given in (from_file, real) for key, value in given.items() if value.strip()}
        settings, invalid = _validate(cls, values)
        problems += _unknown_keys(values) + invalid
        if settings is None or problems:
            raise SettingsError(*problems)
        return settings

    @property
    def url(self) -> URL | None:
        """Return the database URL as SQLAlchemy's, which masks its password when it is printed."""
        return None if self.database_url is None else parse_url(self.database_url.get_secret_value())

    @classmethod
    @override
    def settings_customise_sources(cls, *_: Any, **sources: Any) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is given and nothing else: pydantic-settings would read `os.environ` at every construction."""
        return (sources["init_settings"],)


def engine_arguments(settings: Settings, url: URL | None = None) -> dict[str, Any]:
    """Return the keyword arguments of create_engine() or create_async_engine() for this database.

    *url* is the one that goes to the engine, such as async_url() returns, if it is not `settings.url`. What is set
    explicitly wins; the defaults are the field's for servers and SQLAlchemy's for files. The class of a queue pool is
    left to SQLAlchemy where its choice is right: psycopg needs one for async engines and another for the rest.
    Raises SettingsError for a setting that the pool of this database cannot have.
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


def _sqlite_pool(url: URL, explicit: dict[str, Any]) -> dict[str, Any]:
    from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool, SingletonThreadPool, StaticPool

    is_async = url.get_dialect().is_async
    if url.database in {None, "", ":memory:"} or url.query.get("mode") == "memory":
        fault = "cannot be set: the database is in memory, it lives in one connection and is lost with it"
        _refuse((*QUEUE_ONLY, "pool_recycle"), explicit, fault)
        # SQLAlchemy's own choice. Made by it from `mode=memory`, it is deprecated since 2.1.
        return {"poolclass": StaticPool if is_async else SingletonThreadPool}
    # SQLAlchemy before 2.0.38 had NullPool for files with aiosqlite; one who sets a size wants a pool.
    return {"poolclass": AsyncAdaptedQueuePool if is_async else QueuePool} if explicit.keys() & {*QUEUE_ONLY} else {}


def _refuse(names: tuple[str, ...], explicit: dict[str, Any], allowed: str) -> None:
    keys = {name: _keys(Settings.model_fields[name])[0] for name in names if name in explicit}
    problems = [Problem(key, str(explicit[name]), allowed) for name, key in keys.items()]
    if problems:
        raise SettingsError(*problems)


def _application_name(settings: Settings, url: URL) -> dict[str, Any]:
    if url.get_backend_name() != "postgresql" or "application_name" in url.query:
        return {}
    asked = settings.url.query.get("application_name") if settings.url else None
    name = {"application_name": asked or settings.service or "pool_exporter"}
    return {"connect_args": {"server_settings": name} if url.get_driver_name() == "asyncpg" else name}


def _validate(cls: type[Settings], values: Mapping[str, str]) -> tuple[Settings | None, list[Problem]]:
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
    allowed = next(field.description for field in Settings.model_fields.values() if key in _keys(field))
    return Problem(key, values[key], allowed or "")


def _keys(field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    return [str(key) for key in alias.choices] if isinstance(alias, AliasChoices) else []


def _unknown_keys(values: Mapping[str, str]) -> list[Problem]:
    known = [key for field in Settings.model_fields.values() for key in _keys(field) if key.startswith(PREFIX)]
    given = [key for key in values if key.upper().startswith(PREFIX) and key not in known]
    return [Problem(key, None, _suggestion(key, known)) for key in given if not _is_service_link(key, values)]


def _suggestion(key: str, known: list[str]) -> str:
    # Compared without the prefix: with it, everything would be close to everything.
    names = {name.removeprefix(PREFIX): name for name in known}
    close = get_close_matches(key.upper().removeprefix(PREFIX), names, n=1, cutoff=0.5)
    hint = f"did you mean {names[close[0]]}?" if close else f"its settings are {', '.join(known)}"
    return f"is not a setting of pool_exporter; {hint}"


def _is_service_link(key: str, values: Mapping[str, str]) -> bool:
    """Whether Kubernetes made the key: it tells every pod where a Service is, such as one named pool-exporter."""
    services = [name.removesuffix("_SERVICE_HOST") for name in values if name.endswith("_SERVICE_HOST")]
    return any(key.startswith((f"{name}_SERVICE_", f"{name}_PORT")) for name in services)


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
