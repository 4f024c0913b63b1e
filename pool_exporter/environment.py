"""The settings in the environment, the package's own and those of other programs, and checks of any setting.

This is the only module that reads the environment, and it imports no third-party package. It is read where the work
begins, by a public function or a command, and the values are passed on: a command passes the mapping to what it runs.

- A command reads them by `Environment.strict(environ)` and exits when it raises.
- Everything that runs inside an application reads them by `Environment.lenient()`, which never raises: a wrong variable
  is logged and its default is used, so that monitoring cannot stop the application.

Blanks around a value are dropped, and an empty value is the same as an unset variable, as in OpenTelemetry's
specification. An unknown POOL_EXPORTER_* is wrong, because it is most likely misspelt. Kubernetes adds variables for
each Service, such as POOL_EXPORTER_PORT for one that is named pool-exporter; these are ignored.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from math import inf, nan
from pathlib import Path
from typing import Final, NamedTuple

from pool_exporter.errors import Problem, SettingsError

_log = logging.getLogger("pool_exporter")

PREFIX: Final = "POOL_EXPORTER_"
FROM_ENVIRONMENT: Final = "env:"
"""Before the name of a variable, in place of a URL: so its password is not in the list of processes."""
DIRECTORY: Final = "POOL_EXPORTER_DIR"
SERVICE: Final = "POOL_EXPORTER_SERVICE"
TRACE_WAITS: Final = "POOL_EXPORTER_TRACE_WAITS"
OTEL_SERVICE: Final = "OTEL_SERVICE_NAME"
EXEMPLAR_FILTER: Final = "OTEL_METRICS_EXEMPLAR_FILTER"
OTLP_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""The variables that ask OpenTelemetry for OTLP; the first one that is set wins."""
PROMETHEUS_DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
DIAGNOSIS: Final = "POOL_EXPORTER_DIAGNOSIS"
PLACES: Final = "POOL_EXPORTER_PLACES"
SKIP_MODULES: Final = "POOL_EXPORTER_SKIP_MODULES"
SQL: Final = "POOL_EXPORTER_SQL"
FILE_MODE: Final = "POOL_EXPORTER_FILE_MODE"
SILENCE: Final = "POOL_EXPORTER_SILENCE"
PURE: Final = "POOL_EXPORTER_PURE"
SETTINGS: Final = (DIRECTORY, SERVICE, TRACE_WAITS, DIAGNOSIS, PLACES, SKIP_MODULES, SQL, FILE_MODE, SILENCE, PURE)

PLACES_MODES: Final = ("always", "armed", "off")

LIBPQ: Final = ("PGAPPNAME", "PGCONNECT_TIMEOUT")

DEFAULT_FILE_MODE: Final = 0o640
"""The group may read: a sidecar may run as another user of the same group."""
_FILE_MODE_LEAST: Final = 0o600
_FILE_MODE_MOST: Final = 0o666

DEFAULT_PORT: Final = 10042
PORT_MAX: Final = 65535

SECONDS_MAX: Final = 2_000_000
"""A longer duration than these 23 days is used as this: sockets and servers take milliseconds below 2**31."""

_already_logged: set[str] = set()


class Environment(NamedTuple):
    """The settings, checked.

    Attributes:
        directory: The shared directory of all workers; None keeps the pools of each process in its own memory.
        service: The `service.name` of every pool, "" for none. POOL_EXPORTER_SERVICE wins over OTEL_SERVICE_NAME.
        trace_waits: From how many seconds on an acquire becomes a span; None for no spans.
        has_reports: Whether reports on exhausted pools are made.
        places: When the place of a checkout is recorded: "always", "armed" for ten minutes after each sign of trouble,
            or "off".
        skip_modules: Modules and packages of the application that are no place of a checkout.
        shows_sql: Whether reports may have the whole text of a statement; otherwise they have its first word.
        file_mode: The permissions of the files in the shared directory.
        silenced: The ids of the rules of `check` that find nothing.
        libpq: The variables of PostgreSQL's client library that are set, of those that rules of `check` look at.
        exemplar_filter: Which slow waits become exemplars, as OpenTelemetry defines it; "" is "trace_based".
        otlp_asked_by: The variable that asks OpenTelemetry for OTLP, "" for none.
        has_prometheus_directory: Whether prometheus_client has a directory for its workers.
    """

    directory: Path | None = None
    service: str = ""
    trace_waits: float | None = None
    has_reports: bool = True
    places: str = PLACES_MODES[0]
    skip_modules: tuple[str, ...] = ()
    shows_sql: bool = False
    file_mode: int = DEFAULT_FILE_MODE
    silenced: tuple[str, ...] = ()
    libpq: tuple[str, ...] = ()
    exemplar_filter: str = ""
    otlp_asked_by: str = ""
    has_prometheus_directory: bool = False

    @classmethod
    def strict(cls, environ: Mapping[str, str]) -> Environment:
        """Read *environ*.

        Raises:
            SettingsError: A variable is unknown or has a wrong value. The error names all of them.
        """
        settings, problems = cls.read(environ)
        if problems:
            raise SettingsError(*problems)
        return settings

    @classmethod
    def lenient(cls, environ: Mapping[str, str] | None = None) -> Environment:
        """Read *environ*, by default `os.environ`; never raise.

        All that is wrong is logged in one line of level ERROR, once in a process, and the defaults are used instead.
        """
        settings, problems = cls.read(process_environ() if environ is None else environ)
        text = "; ".join(map(str, problems))
        if problems and text not in _already_logged:
            _already_logged.add(text)
            _log.error("wrong settings are ignored, their defaults are used: %s", text)
        return settings

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> tuple[Environment, list[Problem]]:
        """Return the settings, with the default for each wrong value, and everything that is wrong; never raise."""
        values = {key: environ[key].strip() for key in environ if key == OTEL_SERVICE or key.upper().startswith(PREFIX)}
        problems = [Problem(key, None, _suggestion(key)) for key in values if _is_unknown(key, values)]
        directory, waits = values.get(DIRECTORY), values.get(TRACE_WAITS)
        trace_waits = None
        if waits:
            try:
                trace_waits = seconds(waits, 0)
            except ValueError:
                problems.append(Problem(TRACE_WAITS, waits, "must be seconds, at least 0"))
        has_reports = _choice(DIAGNOSIS, values, ("on", "off"), problems) == "on"
        places = _choice(PLACES, values, PLACES_MODES, problems)
        skipped, silenced = _listed(values.get(SKIP_MODULES, "")), _rules(values.get(SILENCE, ""), problems)
        service = values.get(SERVICE) or values.get(OTEL_SERVICE) or ""
        path = Path(directory) if directory else None
        shows_sql = _choice(SQL, values, ("off", "on"), problems) == "on"
        mode = _file_mode(values.get(FILE_MODE, ""), problems)
        _choice(PURE, values, ("0", "1"), problems)  # `is_pure` has read it before.
        libpq = tuple(name for name in LIBPQ if environ.get(name, "").strip())
        own = cls(path, service, trace_waits, has_reports, places, skipped, shows_sql, mode, silenced, libpq)
        return own._with_others(environ), problems

    def _with_others(self, environ: Mapping[str, str]) -> Environment:
        """Return the settings with what the variables of other programs say; none of their values is wrong."""
        return self._replace(
            exemplar_filter=environ.get(EXEMPLAR_FILTER, "").strip(),
            otlp_asked_by=next((name for name in OTLP_ENDPOINTS if environ.get(name, "").strip()), ""),
            has_prometheus_directory=bool(environ.get(PROMETHEUS_DIRECTORY)),
        )


def _listed(text: str) -> tuple[str, ...]:
    """Return what *text* has between commas."""
    return tuple(filter(None, map(str.strip, text.split(","))))


def _rules(text: str, problems: list[Problem]) -> tuple[str, ...]:
    """Return the ids of rules that *text* lists; what cannot be one becomes a problem."""
    found = tuple(each.upper() for each in _listed(text))
    if wrong := [each for each in found if not re.fullmatch(r"P\d\d", each)]:
        problems.append(Problem(SILENCE, ", ".join(wrong), "must be ids of rules of `check`, such as P04,P22"))
    return tuple(each for each in found if each not in wrong)


def _choice(key: str, values: Mapping[str, str], choices: tuple[str, ...], problems: list[Problem]) -> str:
    """Return which of *choices* a variable has; the first one if it has none of them, which becomes a problem."""
    found = values.get(key) or choices[0]
    if found in choices:
        return found
    problems.append(Problem(key, found, f"must be {', '.join(choices[:-1])} or {choices[-1]}"))
    return choices[0]


def _file_mode(text: str, problems: list[Problem]) -> int:
    """Return the permissions that *text* has in octal; the default where it is wrong, which becomes a problem."""
    try:
        mode = int(text or f"{DEFAULT_FILE_MODE:o}", 8)
    except ValueError:
        mode = 0
    if mode & _FILE_MODE_LEAST == _FILE_MODE_LEAST and mode | _FILE_MODE_MOST == _FILE_MODE_MOST:
        return mode
    problems.append(Problem(FILE_MODE, text, "must be octal permissions from 0600 to 0666, such as 0640"))
    return DEFAULT_FILE_MODE


def is_pure() -> bool:
    """Return whether the hot path shall run as Python although the installation has it compiled.

    It is read when the package is imported: a module is not loaded twice.
    """
    return process_environ().get(PURE, "").strip() == "1"


def process_environ() -> Mapping[str, str]:
    """Return the environment variables of this process. No other module of the package reads them itself."""
    return os.environ


def seconds(value: str | float, least: float, most: float = SECONDS_MAX) -> float:
    """Return a duration in seconds; *most* if it is longer.

    Args:
        value: A number, or its text.
        least: The shortest duration that is allowed, in seconds.
        most: The longest one that is used.

    Raises:
        ValueError: *value* is not a finite number, or less than *least*.
    """
    try:
        found = float(value)
    except ValueError:
        found = nan
    if not least <= found < inf:
        raise ValueError(f"must be seconds, at least {least:g}, not {value!r}")
    return min(found, most)


def wait_threshold_ns(trace_waits: float) -> int:
    """Return the duration from which on an acquire is slow, in nanoseconds.

    Args:
        trace_waits: That duration in seconds, as an application gives it.

    Raises:
        TypeError: *trace_waits* is neither a number nor its text.
        ValueError: *trace_waits* is negative, infinite or not a number.
    """
    try:
        return round(seconds(_no_flag(trace_waits), 0) * 1_000_000_000)
    except TypeError:
        raise TypeError(f"trace_waits must be seconds, such as 0.1, not {type(trace_waits).__name__}") from None
    except ValueError as error:
        raise ValueError(f"trace_waits {error}") from None


def _no_flag(value: float) -> float:
    """Return *value*; True would be one second, and is probably meant to switch something on."""
    if isinstance(value, bool):
        raise TypeError("no number")
    return value


def address_text(host: str, port: int) -> str:
    """Return host and port as in a URL: an IPv6 address is in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_unknown(key: str, values: Mapping[str, str]) -> bool:
    if key in (*SETTINGS, OTEL_SERVICE) or not values[key]:
        return False
    services = [name.removesuffix("_SERVICE_HOST") for name in values if name.endswith("_SERVICE_HOST")]
    return not any(key.startswith((f"{name}_SERVICE_", f"{name}_PORT")) for name in services)


def _suggestion(key: str) -> str:
    from difflib import get_close_matches  # Only a wrong variable needs it.

    # Compared without the prefix: all of them have it in common.
    names = {name.removeprefix(PREFIX): name for name in SETTINGS}
    close = get_close_matches(key.upper().removeprefix(PREFIX), names, n=1, cutoff=0.5)
    hint = f"did you mean {names[close[0]]}?" if close else f"its settings are {', '.join(SETTINGS)}"
    return f"is not a setting of pool_exporter; {hint}"
