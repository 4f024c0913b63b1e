"""The command line: `pool-exporter COMMAND`. It reads arguments and reports errors; each command is another module's.

Whatever is wrong with what it was given is one line on stderr and exit code 2. A command that runs until it is stopped
ends with exit code 0 when SIGINT or SIGTERM stops it, because that is how it is meant to end.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NoReturn

from typing_extensions import override

import pool_exporter
from pool_exporter.commands import dump, healthcheck, serve
from pool_exporter.errors import PoolExporterError

EXIT_USAGE = 2
PORT = 10042
PORT_MAX = 65535
WORKERS_MAX = 64
DURATION_SECONDS_MIN = 1.0


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage before it."""

    @override
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


@dataclass(frozen=True)
class Command:
    """One command: its help, the packages of the extra that it needs, what it adds to a parser, and what it does."""

    name: str
    help: str
    extra: str
    packages: tuple[str, ...]
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]

    def missing(self) -> list[str]:
        """Return the packages that are not installed."""
        return [package for package in self.packages if find_spec(package) is None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that *arguments* name, by default the process's own, and return the exit code."""
    asked = _parser().parse_args(arguments)
    command: Command = asked.command
    if missing := command.missing():
        return _fail(command, f"needs {', '.join(missing)}: pip install 'pool-exporter[{command.extra}]'")
    try:
        command.run(asked)
    except PoolExporterError as error:
        return _fail(command, str(error))
    except KeyboardInterrupt:
        pass  # It came before the command was ready to take it.
    except BrokenPipeError:
        # Nobody reads any more. Python would find that out again when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _fail(command: Command, message: str) -> int:
    print(f"pool-exporter {command.name}: {message}", file=sys.stderr)
    return EXIT_USAGE


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("pool-exporter", description="Monitoring of SQLAlchemy connection pools.")
    parser.add_argument("--version", action="version", version=f"pool-exporter {pool_exporter.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        added = commands.add_parser(command.name, help=command.help, description=command.help)
        added.set_defaults(command=command)
        command.add_arguments(added)
    return parser


def _add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=PORT, help="port, 0 for any free one (default: %(default)s)")
    parser.add_argument(
        "--duration", type=_duration, metavar="SECONDS", help="play one round in this time; by default, until Ctrl-C"
    )
    parser.add_argument("--scene", choices=SCENES, help="play only this scene")
    parser.add_argument("--workers", type=_workers, default=0, metavar="N", help="run the service in N processes")
    parser.add_argument("--sidecar", action="store_true", help="serve the workers' metrics from the next port, too")
    parser.add_argument("--otlp", metavar="ENDPOINT", help="push to an OpenTelemetry collector as well, by HTTP")


def _run_demo(asked: argparse.Namespace) -> None:
    from pool_exporter.demo.run import Options, run

    run(Options(asked.host, asked.port, asked.duration, asked.scene, asked.workers, asked.sidecar, asked.otlp))


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > PORT_MAX:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {PORT_MAX}, not {text!r}")
    return int(text)


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= WORKERS_MAX:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {WORKERS_MAX}, not {text!r}")
    return int(text)


def _duration(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not DURATION_SECONDS_MIN <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be seconds, at least {DURATION_SECONDS_MIN:.0f}, not {text!r}")
    return seconds


SCENES = ("calm", "burst", "slow", "leak", "restart", "recovery")

COMMANDS = (
    Command(
        "demo",
        "Run an instrumented service under load, with its metrics on a port.",
        "demo",
        ("aiosqlite", "fastapi", "greenlet", "httpx", "sqlmodel", "uvicorn"),
        _add_demo_arguments,
        _run_demo,
    ),
    Command(serve.NAME, serve.HELP, "sidecar", ("bcrypt", "uvicorn", "yaml"), serve.add_arguments, serve.run),
    Command(healthcheck.NAME, healthcheck.HELP, "sidecar", (), healthcheck.add_arguments, healthcheck.run),
    Command(dump.NAME, dump.HELP, "sidecar", (), dump.add_arguments, dump.run),
)
