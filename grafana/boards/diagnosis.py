"""The diagnosis of one pool, by Little's law: traffic, slow queries, a leak, or too small a pool.

The time that connections were used, all of it, is an integral; the time for which those were used that came back is the
sum of a histogram. What the second does not explain of the first is held by somebody who has not returned it.
"""

from typing import Final

from grafana_foundation_sdk.models import units

from grafana import queries
from grafana.board import BY_INSTANCE
from grafana.paint import GREEN, ORANGE, RED, YELLOW, Steps, color, limit_line, right_axis, thin_line
from grafana.panels import Card, Line, Panel, graph, timeline
from grafana.promql import RATE_INTERVAL, quantile, rate

USUAL: Final = "1h:1m"
"""What is compared with: the hour that ends at the same moment, or as much of it as there is."""

MUCH: Final = 2
"""How many times the usual is much."""

LEAK_SHARE: Final = 0.1
"""Which share of its limit a pool may hold unreturned. The demo's leak holds a third; its slowest reports none."""

LEAK_WINDOW: Final = "2m"
"""Long against an honest use: only what is out for longer shows."""

HIT: Final[Steps] = {1: ORANGE}


def panels() -> list[Panel]:
    """Return the panels of the row."""
    return [_verdict(), _traffic(), _use(), _leak(), _size()]


def unreturned_share() -> str:
    """Return the share of the limit that is held and not returned."""
    return f"({queries.unreturned(BY_INSTANCE, window=LEAK_WINDOW)}) / {queries.limit(BY_INSTANCE)}"


def demand(window: str) -> str:
    """Return how many connections the callers need: their mean use, and room for chance (square-root staffing)."""
    busy = queries.busy(BY_INSTANCE, window=window)
    return f"{busy} + 2 * sqrt({busy}) + {queries.queue(BY_INSTANCE, window=window)}"


def usual(question: queries.Question) -> str:
    """Return the mean of the answers of the last hour.

    It is no rate over an hour: that would be too low for the first hour of every process.
    """
    return f"avg_over_time(({question(BY_INSTANCE)})[{USUAL}])"


def _verdict() -> Panel:
    """Return one bar for each cause, coloured while its conditions hold."""
    card = Card(
        "Verdict",
        "Which of the four causes is there, and when. Exhausted: no connection to give for 5 % of the time and more. "
        f"Traffic and slow queries: {MUCH} times the mean of the hour before. Leak: {LEAK_SHARE:.0%} of the limit "
        "and more held, and not returned.",
        "all green.",
        "read the bar that is orange while Exhausted is: its panel is below. Exhausted alone: the pool is too small.",
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
    """Return 1 while the answer is much more than it usually is."""
    return f"{question(BY_INSTANCE)} >= bool {MUCH} * {usual(question)}"


def _traffic() -> Panel:
    card = Card(
        "Traffic",
        "Checkouts per second, and their mean of the hour before.",
        "follows the load of the service.",
        "if this alone has risen, the service has more to do: the pool, or the number of instances, must grow with it.",
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
        "if this has risen and traffic has not, queries or transactions have become slow: look at the database, "
        "its locks, and at work that is done while a connection is held.",
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
        "Used connections that those which were returned do not explain; those that no task or thread holds any more; "
        "and the age of the oldest use (right).",
        "0, with moments above it when something long has begun; the age falls to 0 again and again.",
        "a floor that rises and an age that grows is a leak: search for a session or connection without `with`.",
        width=6,
    )
    return graph(
        card,
        Line(f"clamp_min({queries.unreturned(BY_INSTANCE, window=LEAK_WINDOW)}, 0)", "not returned"),
        Line(f"sum({BY_INSTANCE.series('orphaned')})", "held by nobody"),
        Line(f"sum({rate(BY_INSTANCE.series('leaked'))})", "lost per second"),
        Line(f"max({BY_INSTANCE.series('oldest_use_seconds')})", "oldest use"),
        overrides={
            "not returned": [color(ORANGE)],
            "held by nobody": [color(RED)],
            "lost per second": [color(YELLOW)],
            "oldest use": [*thin_line("text"), *right_axis(units.Seconds)],
        },
    )


def _size() -> Panel:
    card = Card(
        "Too small",
        "How many connections the load needs, waiting callers included, with room for chance; and the limit.",
        "below the dashed line.",
        "above it, with traffic and use as usual: the pool is too small. See the board Capacity before you raise it.",
        width=6,
    )
    return graph(
        card,
        Line(demand(RATE_INTERVAL), "needed"),
        Line(queries.limit(BY_INSTANCE), "limit"),
        overrides={"needed": [color(GREEN)], "limit": limit_line()},
    )
