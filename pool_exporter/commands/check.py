"""`pool-exporter check`: what is wrong in the configuration of an engine, or of the pools of a shared directory.

Exit code 1 if there are errors. An engine is imported as the application imports it, from the current directory too; a
directory is only read. Nothing is opened or sent, but to a server that is named. Rules that a directory does not have
the facts for are named as not checked.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pool_exporter.advice.checks.facts import ServerFacts
from pool_exporter.advice.checks.rule import Rule
from pool_exporter.advice.checks.rules import IDS, RULES
from pool_exporter.arguments import AllSettings, CheckedValue, whole_number
from pool_exporter.commands.checks.answer import Answer, as_text, of_engine_as_json, of_pools_as_json
from pool_exporter.commands.checks.engine_target import TARGET, EngineTarget
from pool_exporter.commands.checks.servers import merged, read_servers
from pool_exporter.commands.directory_argument import (
    add_directory,
    check_files,
    directory_of,
    note_set_aside,
    read_by_user,
)
from pool_exporter.commands.json_output import add_json
from pool_exporter.diagnosis.texts.wording import paragraph
from pool_exporter.environment import Environment
from pool_exporter.errors import Problem, SettingsError
from pool_exporter.probe.options import ARGUMENT, add_timeout, targets_from_arguments

if TYPE_CHECKING:
    from pool_exporter.commands.checks.servers import ReadServer, Targets
    from pool_exporter.commands.checks.worker_files import CheckedPool

NAME: Final = "check"
HELP: Final = (
    "Say what is wrong in the configuration of an engine, or of the pools of a directory: exit code 1 on errors."
)
EXIT_ERRORS: Final = 1

_DESTINATIONS: Final = {"--threads": "threads", "--workers": "workers", "--processes": "workers"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "target", metavar=TARGET, nargs="?", help="an engine, a sessionmaker with one, or a function that returns one"
    )
    add_directory(parser)
    parser.add_argument(
        "--silence", action=CheckedValue, convert=_ids, default=(), metavar="ID,…", help="rules to leave out"
    )
    parser.add_argument("--explain", metavar="NAME", type=str.upper, choices=IDS, help="only say what this rule means")
    for name, text in (
        ("--threads", "threads of each worker that use the pool"),
        ("--workers", "processes that have this pool (default: 1, of a directory its living workers)"),
        ("--processes", argparse.SUPPRESS),  # The name of --workers in an earlier version.
    ):
        parser.add_argument(
            name,
            dest=_DESTINATIONS[name],
            action=CheckedValue,
            convert=whole_number(1, 1_000_000),
            metavar="N",
            help=text,
        )
    add_json(parser)
    parser.add_argument(
        ARGUMENT,
        dest="database_urls",
        metavar="URL",
        action="append",
        help="the engine's server, or its PgBouncer's console, to ask for its limits; env:NAME or file:PATH to keep the"
        " password out of the list of processes; repeatable",
    )
    add_timeout(parser)


def _ids(text: str) -> tuple[str, ...]:
    given = tuple(each.strip().upper() for each in text.split(",") if each.strip())
    if unknown := [each for each in given if each not in IDS]:
        raise ValueError(f"there is no rule {', '.join(unknown)}; there are {', '.join(IDS)}")
    return given


def prepare(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Callable[[], None]:
    """Return what prints the findings, and exits with the result.

    Raises:
        SettingsError: There is no target and no directory, or both; the target cannot be imported; or a URL is wrong.
    """
    if arguments.explain:
        return partial(_explain, next(rule for rule in RULES if rule.id == arguments.explain))
    settings = AllSettings()
    servers = settings.read(lambda: targets_from_arguments(arguments, environ))
    if arguments.target is not None:
        engine = settings.read(lambda: _engine(arguments))
        settings.check()
        return partial(_check_engine, arguments, engine.value, servers.value)
    directory = settings.read(lambda: directory_of(arguments, environ, TARGET))
    settings.check()
    silenced = (*arguments.silence, *Environment.read(environ)[0].silenced)
    return partial(_check_directory, arguments, directory.value, servers.value, silenced)


def _explain(rule: Rule) -> None:
    """Print what *rule* is about, why, what to do, when it finds nothing, and where it comes from."""
    parts = (("WHY", rule.why), ("DO", rule.fix), ("NOTE", f"Not found for: {rule.guard}"), ("FROM", f"{rule.source}."))
    lines = [f"{rule.id}: {rule.title} ({rule.severity})"]
    lines += [line for key, text in parts for line in paragraph(key, text)]
    sys.stdout.write("\n".join(lines) + "\n")


def _engine(arguments: argparse.Namespace) -> EngineTarget:
    if arguments.dir is not None:
        raise SettingsError(Problem("--dir", None, f"cannot be used with {TARGET}: name one of them"))
    return EngineTarget(arguments.target)


def _check_engine(arguments: argparse.Namespace, engine: EngineTarget, targets: "Targets") -> None:
    server = merged(read_servers(targets, arguments.database_timeout))
    found = engine.findings(server, arguments.threads, arguments.workers, arguments.silence)
    answer = Answer(arguments.target, found)
    _print(of_engine_as_json(answer) if arguments.is_json else as_text([answer]), has_errors=answer.has_errors)


def _check_directory(
    arguments: argparse.Namespace, directory: Path, targets: "Targets", silenced: tuple[str, ...]
) -> None:
    from pool_exporter.commands.checks.worker_files import checked_pools
    from pool_exporter.workers.contents.read import read_contents

    with read_by_user(directory):
        contents = read_contents(directory)
    check_files(directory)  # What cannot be read is not checked: no finding would be no answer.
    note_set_aside(contents.set_aside)
    pools = checked_pools(contents, time.time(), arguments.threads, arguments.workers)
    if not pools:
        raise SettingsError(Problem("--dir", str(directory), "has no pool of a living worker"))
    answers = _answers(pools, read_servers(targets, arguments.database_timeout), silenced)
    text = of_pools_as_json(answers) if arguments.is_json else as_text(answers)
    _print(text, has_errors=any(each.has_errors for each in answers))


def _answers(
    pools: "tuple[CheckedPool, ...]", read: "tuple[ReadServer, ...]", silenced: tuple[str, ...]
) -> list[Answer]:
    from pool_exporter.commands.checks.judged import judged
    from pool_exporter.commands.checks.servers import servers_by_pool

    servers = servers_by_pool({pool.identity for pool in pools}, read)
    facts: list[ServerFacts | None] = [
        merged(servers[pool.identity]) if servers[pool.identity] else None for pool in pools
    ]
    return judged(pools, facts, silenced)


def _print(text: str, *, has_errors: bool) -> None:
    sys.stdout.write(text + "\n")
    if has_errors:
        raise SystemExit(EXIT_ERRORS)
