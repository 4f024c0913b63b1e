"""The command line: `pool-exporter COMMAND`. It parses arguments and reports errors; commands/ and demo/ do the work.

All wrong values of arguments and variables, and wrong files that they name, are one message on stderr. So is an unknown
argument or a missing extra. The exit code is then 2.

A command that runs until it is stopped exits with 0 on SIGINT and SIGTERM. What only one command needs and takes long
to import (a web server, the demo) is imported when that command runs, so that the others start fast.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import NoReturn

from typing_extensions import override

import pool_exporter
from pool_exporter.arguments import (
    AllSettings,
    CheckedValue,
    at_least_seconds,
    http_url,
    one_of,
    problems_of,
    whole_number,
)
from pool_exporter.commands import dump, healthcheck, serve
from pool_exporter.environment import DEFAULT_PORT, PORT_MAX, Environment, process_environ
from pool_exporter.errors import PoolExporterError

EXIT_USAGE = 2
WORKERS_MAX = 64
DURATION_SECONDS_MIN = 1.0


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, without the usage before it."""

    @override
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


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
    arguments = _parser().parse_args(command_line)
    command: Command = arguments.command
    if missing := command.missing():
        return _fail(command, f"needs {', '.join(missing)}: pip install 'pool-exporter[{command.extra}]'")
    try:
        _prepared(command, arguments)()
    except PoolExporterError as error:
        return _fail(command, str(error))
    except KeyboardInterrupt:
        pass  # Raised before the command had installed its own handler.
    except BrokenPipeError:
        # The reader of stdout has closed it. Python flushes stdout at exit, and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _prepared(command: Command, arguments: argparse.Namespace) -> Callable[[], None]:
    """Return what runs the command. Raises SettingsError with every wrong argument, variable and file."""
    environ = process_environ()
    settings = AllSettings(*problems_of(arguments))
    settings.read(lambda: Environment.strict(environ))
    run = settings.read(lambda: command.prepare(arguments, environ))
    settings.check()
    return run.value


def _fail(command: Command, message: str) -> int:
    print(f"pool-exporter {command.name}: {message}", file=sys.stderr)
    return EXIT_USAGE


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("pool-exporter", description="Exact monitoring of SQLAlchemy connection pools.")
    parser.add_argument("--version", action="version", version=f"pool-exporter {pool_exporter.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        added = commands.add_parser(command.name, help=command.help, description=command.help)
        added.set_defaults(command=command)
        command.add_arguments(added)
    return parser


def _add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port",
        action=CheckedValue,
        convert=whole_number(0, PORT_MAX),
        default=DEFAULT_PORT,
        help="port to listen on, 0 for any free one (default: %(default)s)",
    )
    parser.add_argument(
        "--duration",
        action=CheckedValue,
        convert=at_least_seconds(DURATION_SECONDS_MIN),
        metavar="SECONDS",
        help="play all scenes once in this time (default: again and again until Ctrl-C)",
    )
    parser.add_argument(
        "--scene",
        metavar="SCENE",
        action=CheckedValue,
        convert=one_of(*SCENES),
        help=f"play only this scene: {', '.join(SCENES)}",
    )
    parser.add_argument(
        "--workers",
        action=CheckedValue,
        convert=whole_number(1, WORKERS_MAX),
        default=0,
        metavar="N",
        help="run the service in N worker processes (default: in this process)",
    )
    parser.add_argument("--sidecar", action="store_true", help="also run a sidecar, on the next port")
    parser.add_argument(
        "--otlp",
        metavar="URL",
        action=CheckedValue,
        convert=http_url,
        help="also push to the OpenTelemetry collector at this URL, by HTTP",
    )


def _prepare_demo(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Callable[[], None]:
    from pool_exporter.demo.database_settings import DatabaseSettings
    from pool_exporter.demo.run import DemoOptions, run

    options = DemoOptions(
        host=arguments.host,
        port=arguments.port,
        duration_seconds=arguments.duration,
        scene=arguments.scene,
        workers=arguments.workers,
        has_sidecar=arguments.sidecar,
        otlp=arguments.otlp,
    )
    return partial(run, options, DatabaseSettings.load(environ))


SCENES = ("calm", "burst", "slow", "leak", "restart", "recovery")
"""The names of demo/scenes.py, which takes long to import."""

COMMANDS = (
    Command(
        "demo",
        "Run an example service under load, and watch its pool in the metrics.",
        _add_demo_arguments,
        _prepare_demo,
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
    Command(dump.NAME, dump.HELP, dump.add_arguments, dump.prepare),
)
