"""The probe's command line arguments. SQLAlchemy is loaded only when a URL is given."""

import argparse
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

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
        type=_seconds,
        default=15.0,
        help="time between two queries of a server (default: %(default)g)",
    )
    group.add_argument(
        "--database-timeout",
        metavar="SECONDS",
        type=_seconds,
        default=5.0,
        help="timeout for connecting and for each statement (default: %(default)g)",
    )


def from_arguments(asked: argparse.Namespace) -> "Probes | None":
    """Return the configured probes, not started; None without a URL. Raises SettingsError for a wrong URL."""
    if not asked.database_urls:
        return None
    urls = [_url(given) for given in asked.database_urls]
    from pool_exporter.probe.probes import Probes
    from pool_exporter.probe.target import parse_targets

    return Probes(parse_targets(urls), asked.database_interval, asked.database_timeout)


def _url(given: str) -> str:
    """Return the URL: as given, from an environment variable, or from a file."""
    if given.startswith(FROM_ENVIRONMENT):
        name = given.removeprefix(FROM_ENVIRONMENT)
        if not os.environ.get(name, "").strip():
            raise SettingsError(Problem(ARGUMENT, given, f"the environment has no {name}"))
        return os.environ[name].strip()
    if given.startswith(FROM_FILE):
        try:
            return Path(given.removeprefix(FROM_FILE)).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", "it is not UTF-8 text")
            raise SettingsError(Problem(ARGUMENT, given, f"cannot be read: {reason}")) from None
    return given


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not SECONDS_MIN <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be seconds, at least {SECONDS_MIN}, not {text!r}")
    return seconds
