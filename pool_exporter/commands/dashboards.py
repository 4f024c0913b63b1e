"""`pool-exporter dashboards`: writes Grafana's boards and Prometheus' rules, which the package has, to a directory.

The wheel has the files in `pool_exporter/monitoring`; in a clone they are where they are generated. Only the address of
the runbooks is changed. Nothing here may know a metric, a board or an alert.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from pool_exporter.arguments import CheckedValue
from pool_exporter.commands.json_output import add_json, write_json
from pool_exporter.errors import Problem, SettingsError

NAME: Final = "dashboards"
HELP: Final = "Write the boards for Grafana and the rules for Prometheus to a directory."

PLACEHOLDER: Final = "NAME"
"""Stands for the name of the alert in the address of the runbooks."""

_PACKAGE: Final = Path(__file__).parents[1]
_INSTALLED: Final = _PACKAGE / "monitoring"
_CLONE: Final = _PACKAGE.parent
_CLONED: Final = {"grafana": _CLONE / "grafana" / "dashboards", "prometheus": _CLONE / "deploy" / "prometheus"}
_PATTERNS: Final = {"grafana": "*.json", "prometheus": "pool.*.yaml"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--output", metavar="DIRECTORY", required=True, help="the directory to write to; it is made if missing"
    )
    add_json(parser)
    parser.add_argument(
        "--runbooks",
        metavar="URL",
        action=CheckedValue,
        convert=_address_of_runbooks,
        help="where the alerts' runbooks are: /NAME is added, or NAME is replaced by the alert's name "
        "(default: /-/runbooks, the path at which each exporter has them)",
    )


def _address_of_runbooks(text: str) -> str:
    """Return *text* if it is an address that a link may have; a `Convert`."""
    if re.fullmatch(r"(https?:/)?/[^\s/\"'{}]\S*", text) is None:
        raise ValueError("must be a URL such as https://wiki/pools, or a path such as /-/runbooks")
    return text


def prepare(arguments: argparse.Namespace, _: Mapping[str, str]) -> Callable[[], None]:
    """Return what writes the files. Raises SettingsError without a directory."""
    if not arguments.output:  # As of a variable that is not set: the current directory is not meant.
        raise SettingsError(Problem("--output", "", "must be the directory to write to"))
    return partial(_print, Path(arguments.output), arguments.runbooks, is_json=arguments.is_json)


def files(runbooks: str | None = None) -> Iterator[tuple[Path, str]]:
    """Yield the path of each file below the directory, and its text.

    Args:
        runbooks: Where the runbooks are; None for where the files have them.
    """
    for kind, pattern in _PATTERNS.items():
        directory = _INSTALLED / kind if _INSTALLED.is_dir() else _CLONED[kind]
        for path in sorted(directory.glob(pattern)):
            text = path.read_text("utf-8")
            yield Path(kind, path.name), text if runbooks is None else with_runbooks(text, runbooks)


def with_runbooks(text: str, runbooks: str) -> str:
    """Return the rules *text* with the runbook of each alert at the address *runbooks*."""

    def replaced(found: re.Match[str]) -> str:
        return f"{found[1]}{runbook(runbooks, found[2])}"

    return re.sub(r"(- alert: (\w+)\n(?:(?!\s+- alert:).*\n)*?\s+runbook_url: )\S+", replaced, text)


def runbook(runbooks: str, alert: str) -> str:
    """Return the address of the runbook of an alert."""
    return runbooks.replace(PLACEHOLDER, alert) if PLACEHOLDER in runbooks else f"{runbooks.rstrip('/')}/{alert}"


def _print(output: Path, runbooks: str | None, *, is_json: bool) -> None:
    """Write all files, and print their paths. Raises SettingsError where that fails."""
    written = [str(path) for path in _written(output, runbooks)]
    if is_json:
        write_json({"files": written})
    else:
        sys.stdout.writelines(f"{path}\n" for path in written)


def _written(output: Path, runbooks: str | None) -> Iterator[Path]:
    """Write all files, and yield the path of each. Raises SettingsError where that fails."""
    try:
        for name, text in files(runbooks):
            path = output / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            yield path
    except OSError as error:
        raise SettingsError(Problem("--output", str(output), f"cannot be written: {error.strerror}")) from None
