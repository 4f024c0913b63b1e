"""`pool-exporter advise`: how large each pool should be for its load, and whether all pools fit their server.

The load comes from two looks at a shared directory or a page of metrics, or from the busiest hour of a Prometheus;
`advice.sizing` computes. Progress goes to stderr, the answer to stdout. Nothing here may compute a size.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Final, TypeAlias

from pool_exporter.advice.fleet import Fleet, FleetAdvice, advise_fleet
from pool_exporter.advice.rules_of_thumb import rule_for
from pool_exporter.advice.sizing import SizeAdvice, Target, advise
from pool_exporter.arguments import CheckedValue, Convert, at_least_seconds, whole_number
from pool_exporter.commands.directory_argument import add_directory, directory_of
from pool_exporter.commands.loads.argument_page import ArgumentPage
from pool_exporter.commands.loads.busiest_hour import PrometheusRange, duration
from pool_exporter.commands.loads.prometheus_api import PrometheusApi
from pool_exporter.commands.loads.two_looks import NamedLoad, loads_between, look_at_directory, look_at_page
from pool_exporter.errors import Problem, SettingsError

NAME: Final = "advise"
HELP: Final = "Say how large each pool should be for its load, and whether all pools fit their server."
WINDOW_SECONDS: Final = 60.0
RANGE: Final = "7d"
QUIET_SECONDS: Final = 2.0
"""Only what takes longer than this has a line of progress."""

Advices: TypeAlias = Sequence[tuple[NamedLoad, SizeAdvice | None]]


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
    parser.add_argument("--json", action="store_true", help="print JSON")
    for name, convert, default, text in (
        ("--window SECONDS", at_least_seconds(1), WINDOW_SECONDS, "time between two looks at --dir or --url"),
        ("--range DURATION", duration, duration(RANGE), f"how far back to look in --prometheus (default: {RANGE})"),
        ("--wait SECONDS", at_least_seconds(0.001), 0.05, "the p99 wait that a size has to meet"),
        ("--threads N", whole_number(1, 10_000), None, "threads of each worker that use the pool, if they are limited"),
    ):
        _add(parser, name, convert, default, text)
    server = parser.add_argument_group("whether all pools fit one server")
    for name, least, default, text in (
        ("--max-connections N", 1, None, "connections that the server accepts"),
        ("--reserved N", 0, 3, "of them for its administrators"),
        ("--others N", 0, 0, "that other applications use at their peak"),
        ("--workers N", 1, None, "processes of each replica (default: as many as have the pool)"),
        ("--replicas N", 1, 1, "replicas"),
        ("--surge N", 0, 0, "more replicas while a rollout goes on"),
    ):
        _add(server, name, whole_number(least, 1_000_000), default, text)


def _add(group: "argparse._ActionsContainer", name: str, convert: Convert, default: object, text: str) -> None:
    flag, metavar = name.split()
    shown = "" if default is None or "default:" in text else " (default: %(default)g)"
    group.add_argument(flag, action=CheckedValue, convert=convert, default=default, metavar=metavar, help=text + shown)


def prepare(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Callable[[], None]:
    """Return what prints the advice.

    Raises:
        SettingsError: No source is named, more than one, or a URL is wrong.
    """
    given = [name for name in ("dir", "url", "prometheus") if getattr(arguments, name) is not None]
    if len(given) > 1:
        raise SettingsError(Problem(f"--{given[1]}", None, f"cannot be used with --{given[0]}: name one source"))
    return partial(_run, arguments, _source(arguments, environ))


def _source(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Callable[[], list[NamedLoad]]:
    """Return what reads the loads. Raises SettingsError if no source is named."""
    if arguments.prometheus is not None:
        api = PrometheusApi(ArgumentPage("--prometheus", arguments.prometheus, environ))
        return lambda: PrometheusRange(api, arguments.range, time.time()).loads()
    if arguments.url is not None:
        look = look_at_page(ArgumentPage("--url", arguments.url, environ))
    else:
        look = look_at_directory(directory_of(arguments, environ, "--url or --prometheus"))
    return partial(loads_between, look, arguments.window, _wait)


def _wait(seconds: float) -> float:
    """Wait, with a line of progress if it takes long, and return how long it was."""
    started = time.monotonic()
    while (left := started + seconds - time.monotonic()) > 0:
        if seconds > QUIET_SECONDS:
            _progress(f"counting for {seconds:g} s, {left:.0f} s left")
        time.sleep(min(1.0, left))
    _progress("")
    return time.monotonic() - started


def _progress(text: str) -> None:
    """Show one line on stderr in the place of the one before; a file gets none of it."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


def _run(arguments: argparse.Namespace, source: Callable[[], list[NamedLoad]]) -> None:
    target = Target(wait_seconds=arguments.wait)
    advices = [
        (named, None if named.load is None else advise(named.load, target, arguments.threads)) for named in source()
    ]
    fleet = None if arguments.max_connections is None else _fleet(arguments, advices)
    text = _json(advices, fleet) if arguments.json else _table(advices, fleet)
    sys.stdout.write(text + "\n")


def _fleet(arguments: argparse.Namespace, advices: Advices) -> FleetAdvice:
    known = {named.pool: advice for named, advice in advices if advice is not None}
    fleet = Fleet(
        max_connections=arguments.max_connections,
        reserved=arguments.reserved,
        others=arguments.others,
        workers=arguments.workers or max((named.load.pools for named, _ in advices if named.load), default=1),
        replicas=arguments.replicas,
        surge=arguments.surge,
    )
    sizes = {name: advice.recommended or advice.size for name, advice in known.items()}
    return advise_fleet(fleet, sizes, {name: advice.offered for name, advice in known.items()})


def _json(advices: Advices, fleet: FleetAdvice | None) -> str:
    pools = [_pool(named, advice) for named, advice in advices]
    return json.dumps({"pools": pools} | ({} if fleet is None else {"fleet": asdict(fleet)}), indent=2, allow_nan=False)


def _pool(named: NamedLoad, advice: SizeAdvice | None) -> dict[str, object]:
    if advice is None:
        return {"pool": named.pool, "size_recommended": None, "reason": named.fault}
    return {
        "pool": named.pool,
        "arrival_rate": advice.arrivals_per_second,
        "mean_use_seconds": advice.mean_use_seconds,
        "offered_load": advice.offered,
        "size_now": advice.size,
        "size_recommended": advice.recommended,
        "wait_p99_seconds_now": _finite(advice.wait_now_seconds),
        "wait_p99_seconds_recommended": _finite(advice.wait_recommended_seconds),
        "binding": advice.binding,
        "reason": advice.reason,
        "notes": list(advice.notes),
        "rule_of_thumb": str(rule_for(advice.arrivals_per_second)),
    }


def _finite(value: float | None) -> float | None:
    """JSON has no infinity: a queue that grows for ever has no wait."""
    return value if value is not None and math.isfinite(value) else None


_HEADINGS: Final = ("POOL", "CALLERS/s", "MEAN USE", "LOAD", "SIZE", "ADVISED", "p99 WAIT", "ADVISED")


def _table(advices: Advices, fleet: FleetAdvice | None) -> str:
    if not advices:
        return "No pool was found."
    rows = [_HEADINGS, *(_row(named, advice) for named, advice in advices)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", *(line for named, advice in advices for line in _explained(named, advice))]
    return "\n".join(lines + ([] if fleet is None else ["", *_fleet_lines(fleet)]))


def _row(named: NamedLoad, advice: SizeAdvice | None) -> tuple[str, ...]:
    if advice is None:
        return (named.pool, *("-",) * (len(_HEADINGS) - 1))
    return (
        named.pool,
        f"{advice.arrivals_per_second:.1f}",
        _duration(advice.mean_use_seconds),
        f"{advice.offered:.2f}",
        "no limit" if advice.size is None else str(advice.size),
        "-" if advice.recommended is None else str(advice.recommended),
        _duration(advice.wait_now_seconds),
        _duration(advice.wait_recommended_seconds),
    )


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if math.isinf(seconds):
        return "endless"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def _explained(named: NamedLoad, advice: SizeAdvice | None) -> list[str]:
    if advice is None:
        return [f"{named.pool}: {named.fault}."]
    notes = [f"  {note}" for note in (*advice.notes, f"Compare: {rule_for(advice.arrivals_per_second)}.")]
    return [f"{named.pool}: {advice.reason}", *notes]


def _fleet_lines(fleet: FleetAdvice) -> list[str]:
    shares = ", ".join(f"{name} {share}" for name, share in fleet.shares.items())
    return [f"Server: {fleet.summary}", f"  At most in each of {fleet.processes} processes: {shares}."]
