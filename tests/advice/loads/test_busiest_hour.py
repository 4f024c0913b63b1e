"""The load of a pool is that of its busiest hour, out of what a Prometheus answers."""

import re
from collections.abc import Iterable, Iterator, Mapping

import pytest

from pool_exporter.advice.knee import WINDOWS_MIN
from pool_exporter.advice.loads.busiest_hour import HOUR_SECONDS, Labels, PrometheusRange
from pool_exporter.metrics.pool_metrics import POOL_LABELS, POOL_METRICS

NAME = {metric.field: metric.prometheus for metric in POOL_METRICS}
END = 1_000_000.0
ORDERS = {POOL_LABELS[0].prometheus: "orders"}
ONE = dict.fromkeys(("used_seconds", "use_time_count", "use_time_sum"), 1.0)


def metric(field: str) -> str:
    """Return the name of a metric's samples in Prometheus."""
    for suffix in ("_count", "_sum", "_bucket"):
        if field.endswith(suffix) and field not in NAME:
            return NAME[field.removesuffix(suffix)] + suffix
    return NAME[field]


class Answers:
    """Answers queries of one pool: by how much a counter grew in an hour that ends at a time, and gauges."""

    def __init__(self, hours: Mapping[float, Mapping[str, float]], **at_end: float) -> None:
        self.hours, self.at_end = hours, at_end
        self.asked: list[str] = []

    def at(self, query: str, time: float) -> Iterator[tuple[Labels, float]]:
        """Yield the pool with the value of *query*; nothing of a metric that it does not have."""
        self.asked.append(query)
        if "timestamp(" in query:
            is_whole = f"[{HOUR_SECONDS}s" in query
            seconds = self.at_end.get("scraped" if is_whole else "scraped_closer", HOUR_SECONDS)
            yield from [(ORDERS, seconds)] * (seconds > 0)  # As the queries have it.
        elif NAME["used_peak"] in query:
            yield ORDERS, self.at_end["peak"]
        elif query.startswith(f"increase({NAME['nested_acquires']}[{2 * HOUR_SECONDS}s"):
            yield ORDERS, self.at_end.get("nested", 0.0)
        elif NAME["info"] in query:
            yield {**ORDERS, "pool_size": "5", "max_overflow": "0"}, 1.0
        else:
            known = {**self.hours[time], "max": 10.0}
            yield from ((ORDERS, value) for field, value in known.items() if f"({metric(field)}[" in query)

    def between(self, query: str, start: float, end: float, step: float) -> Iterable[tuple[Labels, dict[float, float]]]:
        """Return the pool with the values of each hour."""
        assert (HOUR_SECONDS, END) == (step, end)
        (name,) = re.findall(r"increase\((\w+)\[3600s\]\)", query)
        (field,) = (field for field in ONE if metric(field) == name)
        return [(ORDERS, {at: values[field] for at, values in self.hours.items() if start <= at <= end})]


def hour(used: float, uses: float) -> dict[str, float]:
    """Return what was counted in an hour in which *used* connections were used at a time."""
    seconds = used * HOUR_SECONDS
    return {"used_seconds": seconds, "use_time_count": uses, "use_time_sum": seconds, "wait_time_count": uses}


QUIET, BUSY = hour(1, 3600), hour(4, 7200)


@pytest.mark.parametrize("hours", [{END - HOUR_SECONDS: BUSY, END: QUIET}, {END - HOUR_SECONDS: QUIET, END: BUSY}])
def test_the_busiest_hour(hours: Mapping[float, Mapping[str, float]]) -> None:
    """The counters are those of the hour with the most used connections, wherever it is in the range."""
    (found,) = PrometheusRange(Answers(hours, peak=6.0), 2 * HOUR_SECONDS, END).loads()
    load = found.load
    assert load is not None

    assert ("orders", "") == (found.pool, found.fault)
    assert (7200, 14_400.0, HOUR_SECONDS) == (load.grown.arrivals, load.grown.used_seconds, load.seconds)
    assert (2, 5, 3.0) == (load.pools, load.size, load.highest), "the peak is that of both pools"


def test_a_pool_that_was_scraped_in_a_part() -> None:
    """The load is that of the part of the hour in which a Prometheus has scraped the pool."""
    (found,) = PrometheusRange(
        Answers({END: BUSY}, peak=6.0, scraped=900.0, scraped_closer=0), HOUR_SECONDS, END
    ).loads()
    assert found.load is not None

    assert 900.0 == found.load.seconds


@pytest.mark.parametrize(("coarse", "expected"), [(4.0, "14s"), (0.0, "10s")])
def test_prometheus_that_is_new(coarse: float, expected: str) -> None:
    """A second query reads the part that was scraped, second by second: steps of 5 seconds miss up to 10 of it."""
    answers = Answers({END: BUSY}, peak=6.0, scraped=coarse, scraped_closer=9.0)
    (found,) = PrometheusRange(answers, HOUR_SECONDS, END).loads()
    steps = [match[0] for query in answers.asked if (match := re.findall(r"timestamp\(\w+\)(\[.*?\])", query))]
    assert found.load is not None

    assert (9.0, ["[3600s:5s]", f"[{expected}:1s]"]) == (found.load.seconds, steps)


def test_nested_acquires_of_the_whole_range() -> None:
    """A unit that asks for a second connection may block itself, in whichever hour it does."""
    answers = Answers({END - HOUR_SECONDS: QUIET, END: BUSY}, peak=6.0, nested=3.0)
    (found,) = PrometheusRange(answers, 2 * HOUR_SECONDS, END).loads()
    assert found.load is not None

    assert 3.0 == found.load.nested


@pytest.mark.parametrize(("uses", "expected"), [(7200, True), (28_800, False)])
def test_uses_that_take_longer(uses: float, expected: bool) -> None:
    """Half of the hours are busy: uses take twice as long in them if only twice as many ended."""
    hours = {END - at * HOUR_SECONDS: BUSY | {"use_time_count": uses} if at % 2 else QUIET for at in range(WINDOWS_MIN)}
    (found,) = PrometheusRange(Answers(hours, peak=6.0), WINDOWS_MIN * HOUR_SECONDS, END).loads()
    assert found.load is not None

    assert expected == found.load.use_rises


def test_no_pool() -> None:
    """Without an increase in the range there is no load, and nothing more is asked of a window."""
    answers = Answers({}, peak=6.0)
    answers.between = lambda *_: []  # type: ignore[method-assign]  # a Prometheus without these metrics

    assert [] == PrometheusRange(answers, 2 * HOUR_SECONDS, END).loads()
    assert [] == [query for query in answers.asked if NAME["info"] in query]
