"""The command line: `pool-exporter COMMAND`. It parses arguments and reports errors; commands/ and demo/ do the work.

A wrong argument, a wrong POOL_EXPORTER_* variable and a missing extra are each one message on stderr and exit code 2.
A command that runs until it is stopped exits with 0 on SIGINT and SIGTERM. What only one command needs and takes long
to import (a web server, the demo) is imported when that command runs, so that the others start fast.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NoReturn

from typing_extensions import override

import pool_exporter
from pool_exporter.commands import dump, healthcheck, serve
from pool_exporter.environment import DEFAULT_PORT, PORT_MAX, Environment, seconds_argument
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
        run: Does the work. It raises PoolExporterError for an error that is the user's.
        extra: The extra that installs *packages*.
        packages: The importable packages that the command needs beyond the base.
    """

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]
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
        Environment.strict()
        command.run(arguments)
    except PoolExporterError as error:
        return _fail(command, str(error))
    except KeyboardInterrupt:
        pass  # Raised before the command had installed its own handler.
    except BrokenPipeError:
        # The reader of stdout has closed it. Python flushes stdout at exit, and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


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
        "--port", type=_port, default=DEFAULT_PORT, help="port to listen on, 0 for any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--duration",
        type=seconds_argument(DURATION_SECONDS_MIN),
        metavar="SECONDS",
        help="play all scenes once in this time (default: again and again until Ctrl-C)",
    )
    parser.add_argument("--scene", choices=SCENES, help="play only this scene")
    parser.add_argument(
        "--workers",
        type=_workers,
        default=0,
        metavar="N",
        help="run the service in N worker processes (default: in this process)",
    )
    parser.add_argument("--sidecar", action="store_true", help="also run a sidecar, on the next port")
    parser.add_argument("--otlp", metavar="URL", help="also push to the OpenTelemetry collector at this URL, by HTTP")


def _run_demo(arguments: argparse.Namespace) -> None:
    from pool_exporter.demo.run import DemoOptions, run

    run(
        DemoOptions(
            host=arguments.host,
            port=arguments.port,
            duration_seconds=arguments.duration,
            scene=arguments.scene,
            workers=arguments.workers,
            has_sidecar=arguments.sidecar,
            otlp=arguments.otlp,
        )
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > PORT_MAX:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {PORT_MAX}, not {text!r}")
    return int(text)


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= WORKERS_MAX:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {WORKERS_MAX}, not {text!r}")
    return int(text)


SCENES = ("calm", "burst", "slow", "leak", "restart", "recovery")
"""The names of demo/scenes.py, which takes long to import."""

COMMANDS = (
    Command(
        "demo",
        "Run an example service under load, and watch its pool in the metrics.",
        _add_demo_arguments,
        _run_demo,
        extra="demo",
        packages=("aiosqlite", "fastapi", "greenlet", "httpx", "pydantic_settings", "sqlmodel", "uvicorn"),
    ),
    Command(
        serve.NAME,
        serve.HELP,
        serve.add_arguments,
        serve.run,
        extra="sidecar",
        packages=("bcrypt", "starlette", "uvicorn", "yaml"),
    ),
    Command(healthcheck.NAME, healthcheck.HELP, healthcheck.add_arguments, healthcheck.run),
    Command(dump.NAME, dump.HELP, dump.add_arguments, dump.run),
)
