"""`pool-exporter advise`: how large each pool should be for its load, and whether all pools fit their server.

The load comes from two looks at a shared directory or a page of metrics, or from the busiest hour of a Prometheus;
`advice` computes. Progress goes to stderr, the answer to stdout. Nothing here may compute a size.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from pool_exporter.advice.fleet_plan import Processes, plan_of
from pool_exporter.advice.loads.busiest_hour import PrometheusRange
from pool_exporter.advice.loads.named_load import NamedLoad, advised
from pool_exporter.advice.sizing import Target
from pool_exporter.arguments import DURATION, AllSettings, CheckedValue, Convert, at_least_seconds, whole_number
from pool_exporter.commands.advice_answer import as_json, as_text
from pool_exporter.commands.directory_argument import add_directory, directory_of
from pool_exporter.commands.json_output import add_json
from pool_exporter.commands.loads.argument_page import ArgumentPage
from pool_exporter.commands.loads.progress import Progress
from pool_exporter.commands.loads.prometheus_api import PrometheusApi
from pool_exporter.commands.loads.two_looks import loads_between, look_at_directory, look_at_page
from pool_exporter.commands.server_grant import RESERVED, Grant, grant_of
from pool_exporter.errors import Problem, SettingsError
from pool_exporter.probe.options import ARGUMENT, add_timeout, targets_from_arguments

NAME: Final = "advise"
HELP: Final = "Say how large each pool should be for its load, and whether all pools fit their server."
WINDOW_SECONDS: Final = 60.0
RANGE_SECONDS: Final = 7 * 86400.0
_range: Final = at_least_seconds(1, most=3660 * 86400.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_directory(parser)
    for name, text in (
        (
            "--url",
            "a page of metrics, such as http://localhost:10042/metrics, or env:NAME for a URL with a password",
        ),
        ("--prometheus", "a Prometheus, such as http://localhost:9090, or env:NAME"),
    ):
        parser.add_argument(name, metavar="URL", help=text)
    add_json(parser)
    for name, convert, default, text in (
        (f"--window {DURATION}", at_least_seconds(1), WINDOW_SECONDS, "how long to count (default: %(default)g s)"),
        (f"--range {DURATION}", _range, RANGE_SECONDS, "how far back --prometheus is read (default: 7d)"),
        (f"--wait {DURATION}", at_least_seconds(0.001), 0.05, "the p99 wait that a size has to meet (default: 50ms)"),
        ("--threads N", whole_number(1, 10_000), None, "threads of each worker that use the pool, if they are limited"),
    ):
        _add(parser, name, convert, default, text)
    server = parser.add_argument_group("whether all pools fit one server")
    for name, least, default, text in (
        ("--max-connections N", 1, None, "connections that the server accepts"),
        ("--reserved N", 0, None, f"of them for its administrators (default: {RESERVED}, or what the server says)"),
        ("--others N", 0, 0, "that other applications use at their peak"),
        ("--workers N", 1, None, "processes of each replica that have the pool (default: as many as have it)"),
        ("--replicas N", 1, None, "replicas (default: 1, or the instances of the Prometheus)"),
        ("--surge N", 0, 0, "more replicas while a rollout goes on"),
    ):
        _add(server, name, whole_number(least, 1_000_000), default, text)
    server.add_argument(
        ARGUMENT,
        dest="database_urls",
        metavar="URL",
        action="append",
        help="the server, or its PgBouncer's console, to query instead of --max-connections; env:NAME or file:PATH keep"
        " the password out of the list of processes",
    )
    add_timeout(server)


def _add(group: "argparse._ActionsContainer", name: str, convert: Convert, default: object, text: str) -> None:
    flag, metavar = name.split()
    shown = "" if default is None or "default:" in text else " (default: %(default)g)"
    group.add_argument(flag, action=CheckedValue, convert=convert, default=default, metavar=metavar, help=text + shown)


def prepare(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Callable[[], None]:
    """Return what prints the advice.

    Raises:
        SettingsError: No source is named, more than one, or a URL is wrong.
    """
    settings = AllSettings()
    source = settings.read(lambda: _source(arguments, environ))
    grant = settings.read(lambda: grant_of(arguments, targets_from_arguments(arguments, environ)))
    settings.check()
    return partial(_run, arguments, source.value, grant.value)


def _source(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Callable[[], list[NamedLoad]]:
    """Return what reads the loads. Raises SettingsError if no source is named, or several."""
    given = [name for name in ("dir", "url", "prometheus") if getattr(arguments, name) is not None]
    if len(given) > 1:
        raise SettingsError(Problem(f"--{given[1]}", None, f"cannot be used with --{given[0]}: name one source"))
    if arguments.prometheus is not None:
        page = ArgumentPage("--prometheus", arguments.prometheus, environ)
        return lambda: _of_prometheus(page, round(arguments.range))
    if arguments.url is not None:
        look = look_at_page(ArgumentPage("--url", arguments.url, environ))
    else:
        look = look_at_directory(directory_of(arguments, environ, "--url or --prometheus"))
    return partial(loads_between, look, arguments.window, _wait)


def _of_prometheus(page: ArgumentPage, seconds: int) -> list[NamedLoad]:
    with Progress().shown(lambda passed: f"querying {page.origin}, {passed:.0f} s"):
        return PrometheusRange(PrometheusApi(page), seconds, time.time()).loads()


def _wait(seconds: float) -> float:
    """Wait, with a line of progress if it takes long, and return how long it was."""
    started = time.monotonic()
    with Progress().shown(lambda passed: f"counting for {seconds:g} s, {max(0.0, seconds - passed):.0f} s left"):
        time.sleep(seconds)
    return time.monotonic() - started


def _run(arguments: argparse.Namespace, source: Callable[[], list[NamedLoad]], grant: Grant | None) -> None:
    target = Target(wait_seconds=arguments.wait)
    pools, plan = [advised(named, target, arguments.threads) for named in source()], None
    if grant is not None and pools:
        fleet, own = grant(pools)
        plan = plan_of(fleet, own, pools, Processes(arguments.workers, arguments.replicas), target)
    sys.stdout.write((as_json if arguments.is_json else as_text)(pools, plan) + "\n")
