"""`pool-exporter demo`: the demo's arguments.

The service and its load are in demo/; nothing here may know what a scene does.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from pool_exporter.arguments import DURATION, CheckedValue, at_least_seconds, http_url, one_of, whole_number
from pool_exporter.commands.json_output import add_json
from pool_exporter.environment import DEFAULT_PORT, PORT_MAX
from pool_exporter.errors import Problem, SettingsError
from pool_exporter.sidecar.listen_addresses import FLAG as LISTEN_ADDRESS
from pool_exporter.sidecar.listen_addresses import parse

NAME: Final = "demo"
HELP: Final = "Run an example service under load, and watch its pool in the metrics."
SCENES: Final = ("calm", "burst", "slow", "external", "nested", "blocked", "leak", "restart", "recovery")
"""The names of demo/scenes.py, which takes long to import."""

_WORKERS_MAX: Final = 64
_DURATION_SECONDS_MIN: Final = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port",
        action=CheckedValue,
        convert=whole_number(0, PORT_MAX),
        default=DEFAULT_PORT,
        help="port to listen on, 0 for any free one (default: %(default)s)",
    )
    parser.add_argument(
        LISTEN_ADDRESS, dest="listen_address", metavar="ADDRESS", help="--host and --port as HOST:PORT, as in serve"
    )
    parser.add_argument(
        "--duration",
        action=CheckedValue,
        convert=at_least_seconds(_DURATION_SECONDS_MIN),
        metavar=DURATION,
        help="play all scenes once in this time (default: again and again until Ctrl-C)",
    )
    parser.add_argument(
        "--scene",
        metavar="SCENE",
        action=CheckedValue,
        convert=one_of(*SCENES),
        help=f"play only this scene, after a few calm seconds: {', '.join(SCENES)}",
    )
    _add_process_arguments(parser)
    add_json(parser, "print a JSON object a line, for programs")


def _add_process_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        action=CheckedValue,
        convert=whole_number(1, _WORKERS_MAX),
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


def prepare(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Callable[[], None]:
    """Read the settings of the database, and return what runs the demo until its duration is over or a signal comes.

    Raises:
        SettingsError: The address or the settings of the database are wrong.
    """
    from pool_exporter.demo.database_settings import DatabaseSettings
    from pool_exporter.demo.run import DemoOptions, run

    host, port = _address(arguments)
    options = DemoOptions(
        host=host,
        port=port,
        duration_seconds=arguments.duration,
        scene=arguments.scene,
        workers=arguments.workers,
        has_sidecar=arguments.sidecar,
        otlp=arguments.otlp,
        is_json=arguments.is_json,
        environ=environ,
    )
    return partial(run, options, DatabaseSettings.load(environ))


def _address(arguments: argparse.Namespace) -> tuple[str, int]:
    """Return where to listen, host and port. Raises SettingsError."""
    given: str | None = arguments.listen_address
    if given is None:
        return arguments.host, arguments.port
    address = parse(given)
    if isinstance(address, Path):
        raise SettingsError(Problem(LISTEN_ADDRESS, given, "must be HOST:PORT: the demo listens on no unix socket"))
    return address
