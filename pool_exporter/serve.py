"""`pool-exporter serve`: the arguments of the sidecar, named as exporters name theirs, and what they come to."""

import argparse
import os
from pathlib import Path
from typing import Final

from pool_exporter import logs, probe
from pool_exporter.errors import Problem, SettingsError

NAME: Final = "serve"
HELP: Final = "Serve the metrics of the workers of a shared directory, also while they are frozen or dead."
ADDRESS: Final = ":10042"
DIRECTORY_VARIABLE: Final = "POOL_EXPORTER_DIR"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_directory(parser)
    probe.add_arguments(parser)
    parser.add_argument("--per-worker", action="store_true", help="one series for each worker, by service.instance.id")
    parser.add_argument(
        "--web.listen-address",
        dest="addresses",
        metavar="ADDRESS",
        action="append",
        help=f"such as :10042, [::1]:10042 or unix:/run/pool_exporter.sock; repeatable (default: {ADDRESS})",
    )
    parser.add_argument(
        "--web.systemd-socket",
        dest="systemd",
        action="store_true",
        help="listen on the sockets that systemd passes, and on no address",
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
        help="TLS, passwords, headers and rate limit, as Prometheus' exporter-toolkit has them",
    )
    parser.add_argument("--log.level", dest="log_level", choices=logs.LEVELS, default="info", help="default: info")
    parser.add_argument(
        "--log.format", dest="log_format", choices=logs.FORMATS, default="logfmt", help="default: logfmt"
    )


def add_directory(parser: argparse.ArgumentParser) -> None:
    """Add the argument for the shared directory."""
    parser.add_argument(
        "--dir", metavar="DIRECTORY", type=Path, help=f"directory of the workers' files (default: {DIRECTORY_VARIABLE})"
    )


def directory_of(asked: argparse.Namespace) -> Path:
    """Return the directory that is asked for, here or by the environment. Raises SettingsError when none is.

    settings.py would read the variable, too, and more that is the application's; it takes a quarter of a second.
    """
    given: Path | None = asked.dir
    if given is None:
        text = os.environ.get(DIRECTORY_VARIABLE, "").strip()
        if not text:
            raise SettingsError(Problem("--dir", None, f"is needed, or {DIRECTORY_VARIABLE}: the workers' directory"))
        given = Path(text)
    return given


def run(asked: argparse.Namespace) -> None:
    """Serve until a signal comes. Raises SettingsError for what cannot be done."""
    from pool_exporter.sidecar import Options, serve

    directory = directory_of(asked)
    logs.configure(asked.log_level, asked.log_format)
    addresses = () if asked.systemd else tuple(asked.addresses or (ADDRESS,))
    serve(
        Options(directory, addresses, asked.metrics, asked.per_worker, asked.config_file), probe.from_arguments(asked)
    )


def _path(text: str) -> str:
    if not text.startswith("/") or text.startswith("/-/") or set(text) & set("?#% \t\n"):
        raise argparse.ArgumentTypeError(f"must be a path such as /metrics, and not under /-/, not {text!r}")
    return text
