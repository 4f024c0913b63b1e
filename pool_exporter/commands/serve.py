"""`pool-exporter serve`: the sidecar's arguments, named as those of Prometheus' exporters.

The server is in sidecar/; nothing here may answer a request or read a worker file.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from pool_exporter import probe
from pool_exporter.arguments import AllSettings, CheckedValue, one_of
from pool_exporter.commands.directory_argument import add_directory, directory_of, other_directory
from pool_exporter.environment import DEFAULT_PORT, Environment
from pool_exporter.otel import otlp_options
from pool_exporter.sidecar import log_format

NAME: Final = "serve"
HELP: Final = "Serve the metrics of all workers that share a directory, even while they are frozen or dead."
ADDRESS: Final = f":{DEFAULT_PORT}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_directory(parser, is_for_long=True)
    probe.add_arguments(parser)
    otlp_options.add_arguments(parser)
    parser.add_argument(
        "--per-worker", action="store_true", help="export each worker as series of its own, with service.instance.id"
    )
    _add_web_arguments(parser)
    _add_log_arguments(parser)


def _add_web_arguments(parser: argparse.ArgumentParser) -> None:
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
        action=CheckedValue,
        convert=_path,
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
        "--web.enable-diagnosis",
        dest="shows_holders",
        action="store_true",
        help="show everyone what holds the connections; otherwise only on loopback addresses and unix sockets, and "
        "behind passwords or client certificates",
    )


def _add_log_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log.level",
        dest="log_level",
        metavar="LEVEL",
        action=CheckedValue,
        convert=one_of(*log_format.LEVELS),
        default="info",
        help=f"the least important messages to log: {', '.join(log_format.LEVELS)} (default: %(default)s)",
    )
    parser.add_argument(
        "--log.format",
        dest="log_format",
        metavar="FORMAT",
        action=CheckedValue,
        convert=one_of(*log_format.FORMATS),
        default="logfmt",
        help=f"format of the log: {' or '.join(log_format.FORMATS)} (default: %(default)s)",
    )


def prepare(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Callable[[], None]:
    """Read all settings, and return what serves until SIGINT or SIGTERM.

    Raises:
        SettingsError: Arguments, variables or files are wrong or cannot be used. The error names all of them.
    """
    from pool_exporter.sidecar import listen_addresses
    from pool_exporter.sidecar.server import SidecarOptions, serve
    from pool_exporter.sidecar.webconfig.reload import ReloadedConfig

    log_format.configure(arguments.log_level, arguments.log_format)
    settings = AllSettings()
    directory = settings.read(lambda: directory_of(arguments, environ))
    addresses = () if arguments.systemd else tuple(arguments.addresses or (ADDRESS,))
    for address in addresses:
        settings.read(partial(listen_addresses.parse, address))
    passed = settings.read(lambda: listen_addresses.passed_by_systemd(environ) if arguments.systemd else [])
    config = settings.read(lambda: ReloadedConfig(arguments.config_file))
    probes = settings.read(lambda: probe.from_arguments(arguments, environ))
    target = settings.read(lambda: otlp_options.from_arguments(arguments, environ))
    settings.check()
    options = SidecarOptions(
        directory.value,
        config.value,
        addresses,
        passed.value,
        metrics=arguments.metrics,
        shows_holders=arguments.shows_holders,
        per_worker=arguments.per_worker,
        probes=probes.value,
        push_target=target.value,
        other_directory=other_directory(directory.value, environ),
        environment=Environment.read(environ)[0],
    )
    return partial(serve, options)


def _path(text: str) -> str:
    if not text.startswith("/") or text.startswith("/-/") or set(text) & set("?#% \t\n"):
        raise ValueError("must be a path such as /metrics, and not under /-/")
    return text
