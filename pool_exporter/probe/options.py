"""The probe's command line arguments. SQLAlchemy is loaded only when a URL is given."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pool_exporter.arguments import DURATION, AllSettings, CheckedValue, at_least_seconds
from pool_exporter.environment import FROM_ENVIRONMENT
from pool_exporter.errors import Problem

if TYPE_CHECKING:
    from pool_exporter.probe.probes import Probes
    from pool_exporter.probe.target import ProbeTarget

ARGUMENT: Final = "--database-url"
SECONDS_MIN: Final = 0.1
SERVER_SECONDS: Final = 5.0
"""How long a server may take to connect, and for each statement."""
INTERVAL_SECONDS: Final = 15.0
"""The time between two queries of a server."""
FROM_FILE: Final = "file:"


def add_arguments(parser: argparse.ArgumentParser, *, is_polled: bool = True) -> None:
    """Add the arguments for probing database servers.

    Args:
        parser: The parser of a command.
        is_polled: Whether the command queries the servers again and again; otherwise the interval is accepted only.
    """
    group = parser.add_argument_group("probe of the database servers")
    group.add_argument(
        ARGUMENT,
        dest="database_urls",
        metavar="URL",
        action="append",
        help="server to query, such as postgresql://monitor@db/postgres, or env:NAME or file:PATH to keep the"
        " password out of the list of processes; repeatable",
    )
    group.add_argument(
        "--database-interval",
        metavar=DURATION,
        action=CheckedValue,
        convert=at_least_seconds(SECONDS_MIN),
        default=INTERVAL_SECONDS,
        help="time between two queries of a server (default: %(default)g s)" if is_polled else argparse.SUPPRESS,
    )
    add_timeout(group)


def add_timeout(group: "argparse._ActionsContainer") -> None:
    """Add the argument for the time limit of a server."""
    group.add_argument(
        "--database-timeout",
        metavar=DURATION,
        action=CheckedValue,
        convert=at_least_seconds(SECONDS_MIN),
        default=SERVER_SECONDS,
        help="time limit for connecting and for each statement (default: %(default)g s)",
    )


def from_arguments(arguments: argparse.Namespace, environ: Mapping[str, str]) -> "Probes | None":
    """Create the configured probes.

    Args:
        arguments: The parsed arguments of `add_arguments`.
        environ: The variables among which a URL of the form `env:NAME` is read.

    Returns:
        The probes, not started; None without a URL.

    Raises:
        SettingsError: URLs are wrong, or cannot be read. The error names all of them.
    """
    targets = targets_from_arguments(arguments, environ)
    if not targets:
        return None
    from pool_exporter.probe.probes import Probes

    return Probes(targets, arguments.database_interval, arguments.database_timeout)


def targets_from_arguments(arguments: argparse.Namespace, environ: Mapping[str, str]) -> "tuple[ProbeTarget, ...]":
    """Return the configured servers, for one query of each; the arguments are those of `from_arguments`.

    Raises:
        SettingsError: URLs are wrong, or cannot be read. The error names all of them.
    """
    if not arguments.database_urls:
        return ()
    urls = [_url(each, environ) for each in arguments.database_urls]
    from pool_exporter.probe.target import parse_targets

    settings = AllSettings(*(each for each in urls if isinstance(each, Problem)))
    targets = settings.read(lambda: parse_targets([each for each in urls if isinstance(each, str)]))
    settings.check()
    return targets.value


def _url(given: str, environ: Mapping[str, str]) -> str | Problem:
    """Return the URL: as given, from an environment variable, or from a file; a Problem if it cannot be read."""
    if given.startswith(FROM_ENVIRONMENT):
        name = given.removeprefix(FROM_ENVIRONMENT)
        if not name.isidentifier():  # A URL with a password, as often as not: it is not repeated.
            return Problem(ARGUMENT, given, f"must have the name of an environment variable after {FROM_ENVIRONMENT}")
        if not environ.get(name, "").strip():
            return Problem(ARGUMENT, given, f"needs the environment variable {name}, which is not set")
        return environ[name].strip()
    if given.startswith(FROM_FILE):
        try:
            return Path(given.removeprefix(FROM_FILE)).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", "it is not UTF-8 text")
            return Problem(ARGUMENT, given, f"cannot be read: {reason}")
    return given
