"""The texts of the demo on the terminal: the URLs, and each scene with its numbers.

All functions are pure: they return text and print nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

from sqlalchemy import URL

from pool_exporter import __version__
from pool_exporter.demo.load import Tally
from pool_exporter.demo.scenes import Scene
from pool_exporter.metrics.pool_metrics import POOL_METRICS
from pool_exporter.metrics.pool_snapshot import Histogram, PoolSnapshot

_INDENT = 10
MARGIN = "    "
"""Before each line of a report."""
[_SATURATED] = (metric.prometheus for metric in POOL_METRICS if metric.field == "saturated_seconds")


def banner(address: str, database: URL, pool: PoolSnapshot, more: str = "") -> str:
    """Return the first lines: what runs, and its URLs. *more* is the lines of `fleet`."""
    limit = "any number of" if pool.max is None else f"at most {pool.max}"
    return f"""\
pool_exporter {__version__} demo: a FastAPI service on {database.get_backend_name()} with {limit} connections

  metrics  curl -s {address}/metrics | grep pool
  status   {address}/
  service  {address}/docs
  PromQL   rate({_SATURATED}[30s])
{more}
Each scene prints the metrics to watch, the report on the pool when callers wait, and at its end means and events.
Press Ctrl-C to end the demo.
"""


def fleet(pids: Sequence[int], directory: Path, sidecar: str | None) -> str:
    """Return the lines about the workers and the sidecar, with commands to try."""
    numbers = " ".join(map(str, pids))
    lines = [
        ("workers", f"{len(pids)}, which write to {directory}"),
        ("top", f"pool-exporter top --dir {directory}"),
        ("diagnose", f"pool-exporter diagnose --dir {directory}"),
    ]
    if sidecar is not None:
        lines += [
            ("sidecar", f"curl -s {sidecar}/metrics | grep pool"),
            ("page", f"{sidecar}/"),
            ("freeze", f"kill -STOP {numbers}; the sidecar still responds, ages grow; kill -CONT {numbers}"),
            ("kill", f"kill -KILL {numbers}; no counter decreases"),
        ]
    return "".join(f"  {name:<8} {line}\n" for name, line in lines)


def pushed(url: str) -> str:
    """Return the line about a push by OTLP."""
    return f"  OTLP     pushed to {url}\n"


def report(text: str) -> str:
    """Return a report, indented, so that the scenes remain easy to find."""
    return f"{indent(text, MARGIN)}\n"


def announcement(scene: Scene, seconds: float) -> str:
    """Return the line at the start of a scene."""
    return f"{scene.name:<{_INDENT}}{seconds:.0f} s, {scene.what}: watch {', '.join(scene.watch)}"


def skipped(scene: Scene, reason: str) -> str:
    """Return the line of a scene that is skipped."""
    return f"{scene.name:<{_INDENT}}skipped: {reason}"


@dataclass(frozen=True)
class Outcome:
    """The result of a scene.

    Attributes:
        before: The pool before it.
        after: The pool after it.
        tally: The requests of the clients.
        seconds: How long it took.
    """

    before: PoolSnapshot
    after: PoolSnapshot
    tally: Tally
    seconds: float

    def since(self, field: str) -> float:
        """Return the increase of a number of the snapshot."""
        return float(getattr(self.after, field) - getattr(self.before, field))

    def mean_ms(self, field: str) -> float:
        """Return the mean of a histogram over the scene, in milliseconds; 0 if nothing was recorded."""
        before: Histogram = getattr(self.before, field)
        after: Histogram = getattr(self.after, field)
        count = after.count - before.count
        return 1000 * (after.sum - before.sum) / count if count else 0.0


def numbers(outcome: Outcome) -> str:
    """Return the lines at the end of a scene: means over its time, and counts of events."""
    tally, seconds = outcome.tally, outcome.seconds
    line = (
        f"{tally.requests:>6} requests {tally.failed:>4} failed"
        f"   used {outcome.since('used_seconds') / seconds:>5.2f}"
        f"   pending {outcome.since('pending_seconds') / seconds:>6.2f}"
        f"   wait {outcome.mean_ms('wait_time'):>7.2f} ms"
        f"   use {outcome.mean_ms('use_time'):>7.2f} ms"
        f"   saturated {outcome.since('saturated_seconds') / seconds:>4.0%}"
    )
    rest = ", ".join(_events(outcome))
    return f"{' ' * _INDENT}{line}\n{' ' * _INDENT}{rest}\n" if rest else f"{' ' * _INDENT}{line}\n"


def _events(outcome: Outcome) -> Iterator[str]:
    """Yield each kind of event that occurred, and the orphaned connections that there still are."""
    for name, field in (("timeouts", "timeouts"), ("leaked", "leaked"), ("opened", "connects")):
        if count := outcome.since(field):
            yield f"{name} {count:.0f}"
    before, after = outcome.before.closes, outcome.after.closes
    reasons = [f"{reason} {after[reason] - before[reason]}" for reason in after if after[reason] > before[reason]]
    if reasons:
        yield f"closed: {' '.join(reasons)}"
    if outcome.after.orphaned:
        yield f"orphaned {outcome.after.orphaned}, oldest use {outcome.after.oldest_use_seconds:.1f} s"
