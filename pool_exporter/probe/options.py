"""The probe's command line arguments. SQLAlchemy is loaded only when a URL is given."""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pool_exporter.environment import seconds_argument
from pool_exporter.errors import Problem, SettingsError

if TYPE_CHECKING:
    from pool_exporter.probe.probes import Probes

ARGUMENT: Final = "--database-url"
SECONDS_MIN: Final = 0.1
FROM_ENVIRONMENT: Final = "env:"
FROM_FILE: Final = "file:"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for probing database servers."""
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
        metavar="SECONDS",
        type=seconds_argument(SECONDS_MIN),
        default=15.0,
        help="time between two queries of a server (default: %(default)g)",
    )
    group.add_argument(
        "--database-timeout",
        metavar="SECONDS",
        type=seconds_argument(SECONDS_MIN),
        default=5.0,
        help="timeout for connecting and for each statement (default: %(default)g)",
    )


def from_arguments(arguments: argparse.Namespace, environ: Mapping[str, str] | None = None) -> "Probes | None":
    """Create the configured probes.

    Args:
        arguments: The parsed arguments of `add_arguments`.
        environ: Where a URL of the form `env:NAME` is read; by default `os.environ`.

    Returns:
        The probes, not started; None without a URL.

    Raises:
        SettingsError: A URL is wrong, or cannot be read.
    """
    if not arguments.database_urls:
        return None
    urls = _urls(arguments.database_urls, os.environ if environ is None else environ)
    from pool_exporter.probe.probes import Probes
    from pool_exporter.probe.target import parse_targets

    return Probes(parse_targets(urls), arguments.database_interval, arguments.database_timeout)


def _urls(given: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return all URLs; one error names all that cannot be read."""
    found = [_url(each, environ) for each in given]
    if problems := [each for each in found if isinstance(each, Problem)]:
        raise SettingsError(*problems)
    return [each for each in found if isinstance(each, str)]


def _url(given: str, environ: Mapping[str, str]) -> str | Problem:
    """Return the URL: as given, from an environment variable, or from a file; a Problem if it cannot be read."""
    if given.startswith(FROM_ENVIRONMENT):
        name = given.removeprefix(FROM_ENVIRONMENT)
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
