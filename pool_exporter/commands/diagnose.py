"""`pool-exporter diagnose`: what holds the connections of all workers of a shared directory, from outside.

It shows living, frozen and crashed workers. It only reads. With the URL of a database server it asks that server once
what the held connections do there, and which connection keeps the locks that they wait for.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pool_exporter import probe
from pool_exporter.arguments import AllSettings
from pool_exporter.commands.directory_argument import add_directory, check_files, directory_of, read_by_user
from pool_exporter.commands.json_output import add_json, json_text
from pool_exporter.diagnosis.outside.screen import screen
from pool_exporter.diagnosis.outside.set_aside import set_aside_json
from pool_exporter.diagnosis.texts.cures import CURES
from pool_exporter.diagnosis.texts.wording import paragraph, printable
from pool_exporter.diagnosis.verdict import VERDICTS
from pool_exporter.environment import Environment
from pool_exporter.errors import CorruptFile, Problem, SettingsError
from pool_exporter.metrics.reports.process_report import ProcessReport
from pool_exporter.metrics.reports.report_json import as_json
from pool_exporter.probe.options import SERVER_SECONDS
from pool_exporter.version import build
from pool_exporter.workers.contents.read import read_contents
from pool_exporter.workers.reports.directory_reports import DirectoryReports

if TYPE_CHECKING:
    from pool_exporter.probe.target import ProbeTarget

NAME: Final = "diagnose"
HELP: Final = "Say what holds the connections of all workers that share a directory, also of frozen and crashed ones."
SCHEMA: Final = 1
"""The version of the keys of `--json`. It is raised when a key goes or changes its meaning, not for a new key."""


@dataclass(frozen=True)
class Options:
    """What the command was given, read and checked.

    Attributes:
        directory: The directory that the workers share.
        pool: The name of the only pool to show; "" for all.
        is_json: Whether to print JSON.
        targets: The database servers to ask.
        timeout: How long a server may take, in seconds.
        shows_sql: Whether to ask for the text of statements.
    """

    directory: Path
    pool: str = ""
    is_json: bool = False
    targets: "tuple[ProbeTarget, ...]" = ()
    timeout: float = SERVER_SECONDS
    shows_sql: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_directory(parser)
    parser.add_argument("--explain", metavar="NAME", choices=VERDICTS, help="only say what this verdict means")
    parser.add_argument("--pool", metavar="NAME", default="", help="show only the pool of this name")
    add_json(parser)
    probe.add_arguments(parser, is_polled=False)


def prepare(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Callable[[], None]:
    """Return what prints the diagnosis.

    Raises:
        SettingsError: Arguments or variables are wrong. The error names all of them.
    """
    if arguments.explain:
        return partial(_explain, arguments.explain)
    settings = AllSettings()
    directory = settings.read(lambda: directory_of(arguments, environ))
    targets = settings.read(lambda: probe.targets_from_arguments(arguments, environ))
    settings.check()
    shows_sql = Environment.read(environ)[0].shows_sql
    options = Options(
        directory.value, arguments.pool, arguments.is_json, targets.value, arguments.database_timeout, shows_sql
    )
    return partial(_print, options)


def _explain(verdict: str) -> None:
    """Print what *verdict* means, how it comes about and what to do."""
    texts = CURES[verdict]
    meaning = f"{texts.meaning[0].upper()}{texts.meaning[1:]}."
    lines = [verdict, *paragraph("", meaning), *paragraph("CAUSE", texts.cause), *paragraph("DO", texts.cure)]
    sys.stdout.write("\n".join(lines) + "\n")


def _print(options: Options) -> None:
    """Print the diagnosis, of what can be read.

    Raises:
        SettingsError: The directory or a worker file cannot be read, or there is no such pool.
    """
    with read_by_user(options.directory):
        found, set_aside = reports(options)
    if not found:
        check_files(options.directory)
    check_pool(options)
    text = _json(found, set_aside) if options.is_json else screen(found, set_aside)
    sys.stdout.write(text.rstrip("\n") + "\n")
    sys.stdout.flush()
    check_files(options.directory)


def reports(options: Options) -> tuple[tuple[ProcessReport, ...], tuple[CorruptFile, ...]]:
    """Return what the processes hold, joined with what the servers say, and the files that could not be used.

    Raises:
        OSError: The directory cannot be read.
    """
    reader = DirectoryReports(options.directory)
    found = reader()
    if options.targets:
        from pool_exporter.diagnosis.outside.locks import held_pids, with_backends
        from pool_exporter.probe.held_backends import query_servers

        pids = held_pids(found, [target.identity for target in options.targets])
        servers = query_servers(options.targets, pids, options.timeout, shows_sql=options.shows_sql)
        found = with_backends(found, servers)
    shown = tuple(_only(report, options.pool) for report in found) if options.pool else found
    return shown, reader.set_aside


def check_pool(options: Options) -> None:
    """Check that a process has the pool that was asked for: a slip of the pen would read as "holds nothing".

    Raises:
        SettingsError: The directory has no pool of this name, or cannot be read.
    """
    if not options.pool:
        return
    with read_by_user(options.directory):
        found = read_contents(options.directory)
    pools = chain(found.totals, *(process.pools for process in found.processes))
    names = sorted({pool.identity.name for pool in pools})
    if options.pool not in names:
        known = printable(f"it has {', '.join(names)}" if names else "it has none")
        raise SettingsError(Problem("--pool", options.pool, f"is no pool of this directory: {known}"))


def _only(report: ProcessReport, pool: str) -> ProcessReport:
    return replace(report, pools=tuple(each for each in report.pools if each.pool.name == pool))


def _json(found: tuple[ProcessReport, ...], set_aside: tuple[CorruptFile, ...]) -> str:
    content = {
        "schema": SCHEMA,
        "version": build()["version"],
        "time": time.time(),
        "processes": [as_json(report) for report in found],
        "set_aside": set_aside_json(set_aside),
    }
    return json_text(content)
