"""Why a pool is exhausted: the verdicts of its reports, and the numbers behind them by Little's law.

The metric `used_seconds` is the time for which all connections were used; the sum of the histogram `use_time` is the
time for which the returned ones were used. The difference of their rates is the number of connections not returned.
"""

from typing import Final

from grafana_foundation_sdk.models import units

from grafana import queries
from grafana.board import BY_INSTANCE
from grafana.paint import GREEN, ORANGE, RED, YELLOW, Steps, color, limit_line, right_axis, thin_line
from grafana.panels import Card, Line, Panel, graph, timeline
from grafana.promql import RATE_INTERVAL, by, increase, quantile, rate
from pool_exporter.metrics.pool_metrics import EXHAUSTION_VERDICTS, UNIT

USUAL: Final = "1h:1m"
"""The window of the usual value: the hour that ends at the same moment, or as much of it as there is."""

MUCH: Final = 2
"""From how many times the usual value on an answer counts as high."""

LEAK_SHARE: Final = 0.1
"""The share of the limit from which on unreturned connections are a leak."""

LEAK_WINDOW: Final = "2m"
"""The window of the leak's rates: connections that are returned within it do not count."""

HIT: Final[Steps] = {1: ORANGE}
REPORTS: Final = BY_INSTANCE.series("exhaustions")
VERDICT: Final = EXHAUSTION_VERDICTS.prometheus


def panels() -> list[Panel]:
    """Return the panels of the row."""
    return [_verdict(), _reports(), _nested(), _units(), _traffic(), _use(), _leak(), _size()]


def unreturned_share() -> str:
    """Return the share of the limit that is used and not returned."""
    return f"({queries.unreturned(BY_INSTANCE, window=LEAK_WINDOW)}) / {queries.limit(BY_INSTANCE)}"


def demand(window: str) -> str:
    """Return how many connections the callers need: their mean use, and a reserve (square-root staffing)."""
    busy = queries.busy(BY_INSTANCE, window=window)
    return f"{busy} + 2 * sqrt({busy}) + {queries.queue(BY_INSTANCE, window=window)}"


def usual(question: queries.Question) -> str:
    """Return the mean of the answers of the last hour.

    A rate over an hour would be too low in the first hour of every process.
    """
    return f"avg_over_time(({question(BY_INSTANCE)})[{USUAL}])"


def _verdict() -> Panel:
    """Return one bar for each verdict that was given, coloured while it holds."""
    card = Card(
        "Verdict",
        "Exhausted: no connection to give for at least 5 % of the time. Below it one bar for each verdict of the "
        "reports in the time range, coloured in the minute of a report: there is one a minute while callers wait. "
        "Only where the exporter makes no reports, three estimates take their place: more traffic or longer uses "
        f"({MUCH} times the mean of the hour before), and connections not returned ({LEAK_SHARE:.0%} of the limit).",
        "all green.",
        "docs/reference/verdicts.md says what a verdict means and what to do; the application's log has the report, "
        "with the lines of code. An estimate names a symptom: a longer use may be a slow query, a lock, a call of "
        "another service, or the wait for a second connection.",
        units.BoolYesNo,
        HIT,
        width=24,
        height=6,
    )
    return timeline(
        card,
        Line(f"{queries.exhausted(BY_INSTANCE)} >= bool 0.05", "exhausted"),
        Line(f"{by(VERDICT, increase(REPORTS))} > bool 0 and on ({VERDICT}) {_given()}", f"{{{{{VERDICT}}}}}"),
        Line(_estimate(_more(queries.checkouts)), "more traffic"),
        Line(_estimate(_more(queries.mean_use)), "longer uses"),
        Line(_estimate(f"{unreturned_share()} >= bool {LEAK_SHARE}"), "not returned"),
    )


def _given() -> str:
    """Return the verdicts that were given in the time range of the board."""
    return f"({by(VERDICT, f'increase({REPORTS}[$__range] @ end())')} > 0)"


def _estimate(condition: str) -> str:
    """Return the condition where the exporter makes no reports."""
    return f"({condition}) unless on () {increase(REPORTS)}"


def _more(question: queries.Question) -> str:
    """Return 1 while the answer is at least MUCH times its usual value."""
    return f"{question(BY_INSTANCE)} >= bool {MUCH} * {usual(question)}"


def _traffic() -> Panel:
    card = Card(
        "Traffic",
        "Checkouts per second, and their mean of the hour before.",
        "follows the load of the service.",
        "if this has risen and the use time has not, there is more to do: the verdict is burst or too_small.",
        units.OpsPerSecond,
        width=6,
    )
    return graph(
        card,
        Line(queries.checkouts(BY_INSTANCE), "checkouts"),
        Line(usual(queries.checkouts), "usual"),
        overrides={"checkouts": [color("blue")], "usual": thin_line("text")},
    )


def _use() -> Panel:
    card = Card(
        "Use time",
        "How long a connection is used until it is returned.",
        "flat, whatever the traffic; milliseconds in a web service.",
        "if this has risen, the verdict says why: slow_queries and locks are in the database; held_in_own_code and "
        "self_deadlock are in the application, which does something else, or waits, while it holds a connection.",
        units.Seconds,
        width=6,
    )
    return graph(
        card,
        Line(queries.mean_use(BY_INSTANCE), "mean"),
        Line(quantile(0.99, BY_INSTANCE.series("use_time", part="bucket")), "p99"),
        Line(usual(queries.mean_use), "usual"),
        overrides={"mean": [color(ORANGE)], "p99": [color(RED)], "usual": thin_line("text")},
    )


def _leak() -> Panel:
    card = Card(
        "Leak",
        "Used connections that the returned ones do not explain; orphaned ones, of tasks and threads that have ended; "
        "those that the garbage collector returned, per second; and the age of the oldest use (right axis).",
        "0, with short peaks when a long use has begun; the age falls to 0 again and again.",
        "a minimum that rises and an age that grows look like a leak: the page of the exporter and the report name "
        "the line that took each connection.",
        width=6,
    )
    return graph(
        card,
        Line(f"clamp_min({queries.unreturned(BY_INSTANCE, window=LEAK_WINDOW)}, 0)", "not returned"),
        Line(f"sum({BY_INSTANCE.series('orphaned')})", "orphaned"),
        Line(f"sum({rate(BY_INSTANCE.series('leaked'))})", "lost per second"),
        Line(f"max({BY_INSTANCE.series('oldest_use_seconds')})", "oldest use"),
        overrides={
            "not returned": [color(ORANGE)],
            "orphaned": [color(RED)],
            "lost per second": [color(YELLOW)],
            "oldest use": [*thin_line("text"), *right_axis(units.Seconds)],
        },
    )


def _size() -> Panel:
    card = Card(
        "Too small",
        "How many connections the load needs, waiting callers included, with a reserve; and the limit.",
        "below the dashed line.",
        "above it, with usual traffic and use, the pool is too small: see the board Capacity and sizing. With the "
        "verdict leak, self_deadlock or held_in_own_code, a larger pool does not help.",
        width=6,
    )
    return graph(
        card,
        Line(demand(RATE_INTERVAL), "needed"),
        Line(queries.limit(BY_INSTANCE), "limit"),
        overrides={"needed": [color(GREEN)], "limit": limit_line()},
    )


def _reports() -> Panel:
    card = Card(
        "Reports in 5 minutes",
        "Reports of an exhausted pool, or of a server that cannot be reached, in the last 5 minutes, by verdict.",
        "none.",
        "docs/reference/verdicts.md says what each verdict means and what to do; the log has the report.",
        width=8,
    )
    reports = f"{by(VERDICT, increase(REPORTS, '5m'))} > 0"
    return graph(card, Line(reports, f"{{{{{VERDICT}}}}}"), is_stacked=True)


def _nested() -> Panel:
    card = Card(
        "Nested acquires",
        "Calls of connect() per second by a unit of work that held another connection of the pool already.",
        "0.",
        "when each connection is held by a unit that waits for another one, none of them proceeds: use one session.",
        units.RequestsPerSecond,
    )
    return graph(card, Line(f"sum({rate(BY_INSTANCE.series('nested_acquires'))})", "nested"))


def _units() -> Panel:
    unit = UNIT.prometheus
    card = Card(
        "Used at the scrape, by unit of work",
        "Used connections by unit of work at each scrape. A sidecar knows the units as of the worker's last heartbeat, "
        "which is a second old at most: uses that began after it are none.",
        "the units with the most traffic have the most.",
        "the unit that has risen is the one to look at: its queries, its locks, its work between queries.",
    )
    return graph(card, Line(by(unit, BY_INSTANCE.series("unit_connections")), f"{{{{{unit}}}}}"), is_stacked=True)
