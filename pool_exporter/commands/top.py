"""`pool-exporter top`: the arguments of the command that shows in the terminal what the status page shows.

terminal/ reads the states and draws them; nothing here may know a key or what is on the screen.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from pool_exporter.arguments import DURATION, AllSettings, CheckedValue, at_least_seconds, one_of
from pool_exporter.commands.directory_argument import add_directory
from pool_exporter.commands.http_page import url_of
from pool_exporter.commands.json_output import add_json, write_json
from pool_exporter.environment import DEFAULT_PORT, Environment
from pool_exporter.errors import Problem, SettingsError
from pool_exporter.metrics.exporter_metrics import FILES_UNREADABLE

if TYPE_CHECKING:
    from pool_exporter.commands.terminal.samples import Sample, Source

NAME: Final = "top"
HELP: Final = "Show all pools, what holds and what waits for their connections, in the terminal."
URL: Final = f"http://127.0.0.1:{DEFAULT_PORT}/"
SECONDS: Final = 2.0
SECONDS_MIN: Final = 0.2
SORTS: Final = ("trouble", "name", "used", "waiting", "p99", "timeouts", "oldest")
NO_ANSWER: Final = 1
"""The exit code of `--once` and `--json` when a source has no state."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "urls",
        nargs="*",
        metavar="URL",
        help="page of an application or a sidecar, unix:PATH, or env:NAME with a URL that has a password "
        f"(default: the shared directory, else {URL})",
    )
    parser.add_argument(
        "--url", metavar="URL", action="append", default=[], help="the same as URL, as in advise; repeatable"
    )
    add_directory(parser)
    parser.add_argument("--once", action="store_true", help="print everything once, and end")
    add_json(parser, "print everything once, as JSON, for programs")
    parser.add_argument(
        "--interval",
        action=CheckedValue,
        convert=at_least_seconds(SECONDS_MIN),
        default=SECONDS,
        metavar=DURATION,
        help=f"time between two readings (default: {SECONDS:g} s)",
    )
    parser.add_argument(
        "--sort",
        action=CheckedValue,
        convert=one_of(*SORTS),
        default=SORTS[0],
        metavar="ORDER",
        help=f"order of the pools: {', '.join(SORTS)} (default: %(default)s)",
    )


def prepare(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Callable[[], None]:
    """Return what shows the pools.

    Raises:
        SettingsError: A URL is malformed, or there is no terminal.
    """
    from pool_exporter.commands.terminal.http_source import HttpSource
    from pool_exporter.commands.terminal.samples import DirectorySource

    given: list[str] = [*arguments.urls, *arguments.url]
    environment = Environment.read(environ)[0]
    directory = arguments.dir or (None if given else environment.directory)
    settings = AllSettings()
    urls = given or ([] if directory else [URL])
    read = [settings.read(partial(_source, HttpSource, url, environ)) for url in urls]
    settings.check()
    sources: list[Source] = [each.value for each in read]
    sources += [DirectorySource(directory, environment.silenced)] if directory else []
    if arguments.is_json:
        return partial(_print_json, sources)
    if arguments.once:
        return partial(_print_once, sources, arguments.sort)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SettingsError(Problem("output", None, "is no terminal: use --once, or --json"))
    return partial(_show, sources, arguments.interval, arguments.sort)


def _source(make: "Callable[[str], Source]", url: str, environ: Mapping[str, str]) -> "Source":
    try:
        return make(url_of(url, environ))
    except ValueError as error:
        raise SettingsError(Problem("--url", url if "@" not in url else None, str(error))) from None


def _print_json(sources: "Sequence[Source]") -> None:
    from pool_exporter.commands.terminal.samples import take_all
    from pool_exporter.web.status.pools_json import SCHEMA, to_document

    samples = take_all(sources)
    found = [
        {
            "source": each.source,
            "fault": each.fault or None,
            "status": None if each.status is None else to_document(each.status),
        }
        for each in samples
    ]
    write_json({"schema": SCHEMA, "sources": found})
    _exit(samples)


def _print_once(sources: "Sequence[Source]", sort: str) -> None:
    import time

    from rich.console import Console

    from pool_exporter.commands.terminal.samples import take_all
    from pool_exporter.commands.terminal.screen import once
    from pool_exporter.commands.terminal.view import View

    samples, console = take_all(sources), Console(highlight=False, emoji=False)
    with console.capture() as captured:  # Where a pipe is closed, rich would exit with 1.
        console.print(once(samples, View(sort), console.width, time.monotonic()))
    sys.stdout.write(captured.get())
    _exit(samples)


def _show(sources: "Sequence[Source]", interval: float, sort: str) -> None:
    from pool_exporter.commands.terminal.live import run
    from pool_exporter.commands.terminal.view import View

    run(sources, interval, View(sort))


def _exit(samples: "Sequence[Sample]") -> None:
    """End with a code that says whether every source has answered, and with all that it has."""
    sys.stdout.flush()
    if any(
        sample.fault or (sample.status is not None and FILES_UNREADABLE in sample.status.faults) for sample in samples
    ):
        raise SystemExit(NO_ANSWER)
