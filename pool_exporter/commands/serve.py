"""`pool-exporter serve`: the sidecar's arguments, named as those of Prometheus' exporters. The server is sidecar/."""

import argparse
from pathlib import Path
from typing import Final

from pool_exporter import probe
from pool_exporter.commands.directory_argument import add_directory, directory_of
from pool_exporter.environment import DEFAULT_PORT
from pool_exporter.otel import otlp_options
from pool_exporter.sidecar import log_format

NAME: Final = "serve"
HELP: Final = "Serve the metrics of all workers that share a directory, even while they are frozen or dead."
ADDRESS: Final = f":{DEFAULT_PORT}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_directory(parser)
    probe.add_arguments(parser)
    otlp_options.add_arguments(parser)
    parser.add_argument(
        "--per-worker", action="store_true", help="export each worker as series of its own, with service.instance.id"
    )
    parser.add_argument(
        "--web.listen-address",
        dest="addresses",
        metavar="ADDRESS",
        action="append",
        help=f"where to listen: :10042, [::1]:10042 or unix:/run/pool_exporter.sock; repeatable (default: {ADDRESS})",
    )
    parser.add_argument(
        "--web.systemd-socket",
        dest="systemd",
        action="store_true",
        help="listen on the sockets that systemd passes instead of an address",
    )
    parser.add_argument(
        "--web.telemetry-path",
        dest="metrics",
        metavar="PATH",
        type=_path,
        default="/metrics",
        help="path of the metrics (default: %(default)s)",
    )
    parser.add_argument(
        "--web.config.file",
        dest="config_file",
        metavar="FILE",
        type=Path,
        help="file with TLS, passwords, headers and rate limit, in the format of Prometheus' exporter-toolkit",
    )
    parser.add_argument(
        "--log.level",
        dest="log_level",
        choices=log_format.LEVELS,
        default="info",
        help="the least important messages to log (default: %(default)s)",
    )
    parser.add_argument(
        "--log.format",
        dest="log_format",
        choices=log_format.FORMATS,
        default="logfmt",
        help="format of the log (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        SettingsError: An argument or a variable is wrong or cannot be used.
    """
    from pool_exporter.sidecar.server import SidecarOptions, serve

    directory = directory_of(arguments)
    log_format.configure(arguments.log_level, arguments.log_format)
    addresses = () if arguments.systemd else tuple(arguments.addresses or (ADDRESS,))
    options = SidecarOptions(directory, addresses, arguments.metrics, arguments.per_worker, arguments.config_file)
    serve(
        options, probe.from_arguments(arguments), lambda source: otlp_options.create_push(arguments, source, directory)
    )


def _path(text: str) -> str:
    if not text.startswith("/") or text.startswith("/-/") or set(text) & set("?#% \t\n"):
        raise argparse.ArgumentTypeError(f"must be a path such as /metrics, and not under /-/, not {text!r}")
    return text
