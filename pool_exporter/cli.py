"""The command line: `pool-exporter COMMAND`. It parses arguments and reports errors; commands/ does the work.

All wrong values of arguments and variables, and wrong files that they name, are one message on stderr. So is an unknown
argument, with the nearest right one, or a missing extra. The exit code is then 2.

A command that runs until it is stopped exits with 0 on SIGINT and SIGTERM. What only one command needs and takes long
to import (a web server, the demo) is imported when that command runs, so that the others start fast.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from io import TextIOWrapper
from typing import Final

import pool_exporter
from pool_exporter.arguments import AllSettings, problems_of
from pool_exporter.commands import advise, check, dashboards, demo, diagnose, dump, healthcheck, serve, top
from pool_exporter.commands.parser import EXIT_USAGE, Parser
from pool_exporter.environment import Environment, process_environ
from pool_exporter.errors import PoolExporterError

EXIT_OUTPUT: Final = 1
"""The exit code where the output cannot be written."""


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: What is typed after `pool-exporter`.
        help: One sentence for `--help`.
        add_arguments: Adds the command's arguments to its parser.
        prepare: Reads all settings and returns what does the work. Both raise PoolExporterError for a user's error.
        extra: The extra that installs *packages*.
        packages: The importable packages that the command needs beyond the base.
    """

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    prepare: Callable[[argparse.Namespace, Mapping[str, str]], Callable[[], None]]
    extra: str = ""
    packages: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """Return the packages that are not installed."""
        return [package for package in self.packages if find_spec(package) is None]


def main(command_line: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        command_line: The arguments; None for those of the process.

    Returns:
        The exit code.
    """
    _make_output_usable()
    try:
        try:
            return _run(command_line)
        finally:
            sys.stdout.flush()  # Python does so at exit, too, but prints a traceback where that fails.
    except BrokenPipeError:  # The reader of stdout has closed it.
        _discard_output()
        return 0
    except OSError:
        if (fault := _fault_of_output()) is None:
            raise
        _discard_output()
        print(f"pool-exporter: the output cannot be written: {fault}", file=sys.stderr)
        return EXIT_OUTPUT


def _run(command_line: Sequence[str] | None) -> int:
    parser = _parser()
    environ = process_environ()
    _complete(parser, environ)
    arguments = parser.parse(sys.argv[1:] if command_line is None else command_line)
    command: Command = arguments.command
    if missing := command.missing():
        return _fail(command, f"needs {', '.join(missing)}: pip install 'pool-exporter[{command.extra}]'")
    try:
        _prepared(command, arguments, environ)()
    except PoolExporterError as error:
        return _fail(command, str(error))
    except KeyboardInterrupt:
        pass  # Raised before the command had installed its own handler.
    return 0


def _make_output_usable() -> None:
    """Let no character fail that the output's encoding lacks, nor a stdout that was closed before the start."""
    if sys.stdout is None:  # As Python has it then.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # it is used until the end
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _fault_of_output() -> str | None:
    """Return why stdout cannot be written, as to a full disk; None if it can be."""
    try:
        print(flush=True)
    except OSError as error:
        return error.strerror
    return None


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complete(parser: Parser, environ: Mapping[str, str]) -> None:
    """Answer the shell and end the program, where the shell asks how to complete an argument; see the extra."""
    if "_ARGCOMPLETE" in environ and find_spec("argcomplete") is not None:
        import_module("argcomplete").autocomplete(parser)


def _prepared(command: Command, arguments: argparse.Namespace, environ: Mapping[str, str]) -> Callable[[], None]:
    """Return what runs the command. Raises SettingsError with every wrong argument, variable and file."""
    settings = AllSettings(*problems_of(arguments))
    settings.read(lambda: Environment.strict(environ))
    run = settings.read(lambda: command.prepare(arguments, environ))
    settings.check()
    return run.value


def _fail(command: Command, message: str) -> int:
    print(f"pool-exporter {command.name}: {message}", file=sys.stderr)
    return EXIT_USAGE


def _parser() -> Parser:
    parser = Parser("pool-exporter", description="Exact monitoring of SQLAlchemy connection pools.")
    parser.add_argument("--version", action="version", version=f"pool-exporter {pool_exporter.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        added = commands.add_parser(command.name, help=command.help, description=command.help)
        parser.commands[command.name] = added
        added.set_defaults(command=command)
        command.add_arguments(added)
    return parser


COMMANDS = (
    Command(
        demo.NAME,
        demo.HELP,
        demo.add_arguments,
        demo.prepare,
        extra="demo",
        packages=("aiosqlite", "fastapi", "greenlet", "httpx", "pydantic_settings", "sqlmodel", "uvicorn"),
    ),
    Command(
        serve.NAME,
        serve.HELP,
        serve.add_arguments,
        serve.prepare,
        extra="sidecar",
        packages=("bcrypt", "starlette", "uvicorn", "yaml"),
    ),
    Command(healthcheck.NAME, healthcheck.HELP, healthcheck.add_arguments, healthcheck.prepare),
    Command(diagnose.NAME, diagnose.HELP, diagnose.add_arguments, diagnose.prepare),
    Command(dump.NAME, dump.HELP, dump.add_arguments, dump.prepare),
    Command(check.NAME, check.HELP, check.add_arguments, check.prepare),
    Command(advise.NAME, advise.HELP, advise.add_arguments, advise.prepare),
    Command(dashboards.NAME, dashboards.HELP, dashboards.add_arguments, dashboards.prepare),
    Command(top.NAME, top.HELP, top.add_arguments, top.prepare, extra="top", packages=("rich",)),
)
