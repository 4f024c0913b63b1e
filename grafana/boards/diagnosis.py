"""The diagnosis of one pool, by Little's law: traffic, slow queries, a leak, or a pool that is too small.

The metric `used_seconds` is the time for which all connections were used; the sum of the histogram `use_time` is the
time for which the returned ones were used. The difference of their rates is the number of connections not returned.
"""

from typing import Final

from grafana_foundation_sdk.models import units

from grafana import queries
from grafana.board import BY_INSTANCE
from grafana.paint import GREEN, ORANGE, RED, YELLOW, Steps, color, limit_line, right_axis, thin_line
from grafana.panels import Card, Line, Panel, graph, timeline
from grafana.promql import RATE_INTERVAL, by, quantile, rate
from pool_exporter.metrics.pool_metrics import VERDICTS

USUAL: Final = "1h:1m"
"""The window of the usual value: the hour that ends at the same moment, or as much of it as there is."""

MUCH: Final = 2
"""From how many times the usual value on an answer counts as high."""

LEAK_SHARE: Final = 0.1
"""The share of the limit from which on unreturned connections are a leak. The demo's leak has a third."""

LEAK_WINDOW: Final = "2m"
"""The window of the leak's rates: connections that are returned within it do not count."""

HIT: Final[Steps] = {1: ORANGE}


def panels() -> list[Panel]:
    """Return the panels of the row."""
    return [_verdict(), _traffic(), _use(), _leak(), _size(), _reports(), _nested()]


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
    """Return one bar for each cause, coloured while its conditions hold."""
    card = Card(
        "Verdict",
        "Which of four conditions holds, and when. Exhausted: no connection to give for at least 5 % of the time. "
        f"Traffic and slow queries: {MUCH} times the mean of the hour before. Leak: at least {LEAK_SHARE:.0%} of the "
        "limit used and not returned.",
        "all green.",
        "a bar that is orange together with Exhausted is the cause; its panel is below. Exhausted alone: a small pool.",
        units.BoolYesNo,
        HIT,
        width=24,
        height=6,
    )
    return timeline(
        card,
        Line(f"{queries.exhausted(BY_INSTANCE)} >= bool 0.05", "exhausted"),
        Line(_more(queries.checkouts), "traffic"),
        Line(_more(queries.mean_use), "slow queries"),
        Line(f"{unreturned_share()} >= bool {LEAK_SHARE}", "leak"),
    )


def _more(question: queries.Question) -> str:
    """Return 1 while the answer is at least MUCH times its usual value."""
    return f"{question(BY_INSTANCE)} >= bool {MUCH} * {usual(question)}"


def _traffic() -> Panel:
    card = Card(
        "Traffic",
        "Checkouts per second, and their mean of the hour before.",
        "follows the load of the service.",
        "if only this has risen, the service has more to do: enlarge the pool, or add instances.",
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
        "Slow queries",
        "How long a connection is used until it is returned.",
        "flat, whatever the traffic; milliseconds in a web service.",
        "if this has risen and traffic has not, queries or transactions have become slow: check the database, "
        "its locks, and the work that the application does while it holds a connection.",
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
        "a minimum that rises and an age that grows are a leak: search for a session or connection without `with`.",
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
        "above it, with usual traffic and usual use: the pool is too small. See the board Capacity and sizing before "
        "you raise the limit.",
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
        "Reports of an exhausted pool",
        "Reports per second that callers waited in vain or that the server could not be reached, by the cause found.",
        "0.",
        "docs/reference/verdicts.md says what each verdict means and what to do; the log has the report.",
        units.OpsPerSecond,
        width=16,
    )
    reports = by(VERDICTS.prometheus, rate(BY_INSTANCE.series("exhaustions")))
    return graph(card, Line(reports, f"{{{{{VERDICTS.prometheus}}}}}"), is_stacked=True)


def _nested() -> Panel:
    card = Card(
        "Nested acquires",
        "Calls of connect() per second by a unit of work that held another connection of the pool already.",
        "0.",
        "when each connection is held by a unit that waits for another one, none of them proceeds: use one session.",
        units.RequestsPerSecond,
    )
    return graph(card, Line(f"sum({rate(BY_INSTANCE.series('nested_acquires'))})", "nested"))
