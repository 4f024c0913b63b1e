"""A real Prometheus scrapes a service every second, and answers PromQL with the values that its pools had.

Each test has a pool of its own in the service; the truth comes from SQLAlchemy's pool, a clock or the test itself.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from pool_exporter.metrics.metric import Kind
from pool_exporter.metrics.pool_metrics import POOL_METRICS
from tests.fixtures.deadlines import until
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.processes import free_port, is_listening, running
from tests.fixtures.prometheus import Prometheus, prometheus_server

ROOT = Path(__file__).parents[2]
ENDPOINTS = ("app", "thread", "registry")
USED = 'db_client_connection_count{db_client_connection_state="used"}'
SCRAPE_SECONDS = 1


@dataclass(frozen=True)
class Scraped:
    """The service, and the Prometheus that scrapes it."""

    service: httpx.Client
    prometheus: Prometheus

    def do(self, path: str, **parameters: float) -> Any:
        """Let the service do something; return its response."""
        answer = self.service.post(path, params=parameters)
        answer.raise_for_status()
        return answer.json()

    def open(self, name: str, **parameters: float) -> None:
        """Make a pool in the service, and wait until Prometheus has seen it."""
        self.do(f"/{name}/open", **parameters)
        until({name: 0.0}, lambda: {name: self.value(USED, name)})

    def value(self, metric: str, pool: str, job: str = "thread", window: str = "") -> float:
        """Return the pool's value of *metric*, which may have labels, over all series of one endpoint."""
        return self.prometheus.value(f"sum({selected(metric, pool, job)}{window})")

    def rate(self, metric: str, pool: str, seconds: int) -> float:
        """Return the pool's rate of *metric* over the last *seconds*."""
        return self.prometheus.value(f"sum(rate({selected(metric, pool)}[{seconds}s]))")

    def wait_for_scrape(self) -> float:
        """Return when the first scrape that begins from now on has begun, in seconds since the epoch, after its end."""
        now = time.time()
        until(True, lambda: self._last_scrape() >= now)
        return self._last_scrape()

    def _last_scrape(self) -> float:
        return self.prometheus.value('timestamp(up{job="thread"})')


def selected(metric: str, pool: str, job: str = "thread") -> str:
    """Return a PromQL selector of one pool's series of *metric*, which may have labels, at one endpoint."""
    name, _, labels = metric.partition("{")
    own = labels.removesuffix("}")
    return f'{name}{{job="{job}",db_client_connection_pool_name="{pool}"{"," if own else ""}{own}}}'


@pytest.fixture(name="scraped", scope="module")
def _scraped(
    postgres: PostgresServer, prometheus_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scraped]:
    """The service with its three endpoints, all of them scraped."""
    ports = [free_port() for _ in ENDPOINTS]
    environ = {**os.environ, "DATABASE_URL": postgres.url("asyncpg").render_as_string()}
    command = [sys.executable, "-m", "tests.integration.service", *map(str, ports)]
    log = tmp_path_factory.mktemp("service") / "log"
    with (
        running(command, log, lambda: all(map(is_listening, ports)), cwd=ROOT, environ=environ),
        prometheus_server(prometheus_binary, dict(zip(ENDPOINTS, ports, strict=True))) as prometheus,
        httpx.Client(base_url=f"http://127.0.0.1:{ports[0]}", timeout=60) as service,
    ):
        until(3.0, lambda: prometheus.value("sum(up)"))
        yield Scraped(service, prometheus)


def test_every_endpoint_is_healthy(scraped: Scraped) -> None:
    """Prometheus reads the answer of each endpoint without an error; the app's is the OpenMetrics that it requests."""
    health = {
        target["labels"]["job"]: (target["health"], target["lastError"]) for target in scraped.prometheus.targets()
    }

    assert dict.fromkeys(ENDPOINTS, ("up", "")) == health
    (content_type,) = scraped.service.get("/content-types").json()
    assert content_type.startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")


@pytest.mark.parametrize("job", ENDPOINTS)
def test_gauges_are_the_pools(scraped: Scraped, job: str) -> None:
    """Used, idle, pending and the limits are those of the pool, through each endpoint."""
    name = f"gauges-{job}"
    scraped.open(name, size=3, overflow=1)
    scraped.do(f"/{name}/hold/3")
    scraped.do(f"/{name}/release")
    scraped.do(f"/{name}/hold/2")
    assert {"used": 2, "idle": 1} == scraped.service.get(f"/{name}").json()
    limits = {"max": 4, "idle_max": 3}
    until({"used": 2, "idle": 1, "pending": 0, **limits}, partial(gauges, scraped, name, job))

    scraped.do(f"/{name}/hold/2")
    scraped.do(f"/{name}/wait/5")
    assert {"used": 4, "idle": 0} == scraped.service.get(f"/{name}").json()
    until({"used": 4, "idle": 0, "pending": 5, **limits}, partial(gauges, scraped, name, job))

    assert 5 == scraped.do(f"/{name}/release")
    assert {"used": 0, "idle": 3} == scraped.service.get(f"/{name}").json()
    until({"used": 0, "idle": 3, "pending": 0, **limits}, partial(gauges, scraped, name, job))


def gauges(scraped: Scraped, pool: str, job: str) -> dict[str, float]:
    """Return the pool's gauges as Prometheus had them last from one endpoint."""
    return {
        "used": scraped.value(USED, pool, job),
        "idle": scraped.value(USED.replace("used", "idle"), pool, job),
        "pending": scraped.value("db_client_connection_pending_requests", pool, job),
        "max": scraped.value("db_client_connection_max", pool, job),
        "idle_max": scraped.value("db_client_connection_idle_max", pool, job),
    }


def test_rates_of_the_integrals_are_exact_means(scraped: Scraped) -> None:
    """While 2 are used and 3 wait, the rates are 2 and 3, and the pool is exhausted for all of the time."""
    scraped.open("rates", size=2)
    scraped.do("/rates/hold/2")
    scraped.do("/rates/wait/3")
    metrics = (
        "sqlalchemy_pool_used_seconds_total",
        "sqlalchemy_pool_pending_seconds_total",
        "sqlalchemy_pool_saturated_seconds_total",
    )
    # A page that a busy machine renders late moves a single rate, until three seconds without such a page have passed.
    until([2, 3, 1], lambda: rounded(scraped.rate(metric, "rates", 3) for metric in metrics))

    assert 3 == scraped.do("/rates/release")


def rounded(rates: Iterable[float]) -> list[float]:
    """Return rates as whole numbers, if they are at most 3 % from them; a rate that is not known yet is NaN."""
    return [round(rate) if rate > 0 and rate == pytest.approx(round(rate), rel=0.03) else rate for rate in rates]


def test_quantiles_of_the_histograms(scraped: Scraped) -> None:
    """Of eight uses of 3 s, half of them behind the other half, quantiles and means are where they must be.

    The buckets end at 2.5 s and 5 s, so that the machine may be two seconds late.
    """
    scraped.open("quantiles", size=4)
    scraped.wait_for_scrape()
    assert 8 == scraped.do("/quantiles/use/8", seconds=3)
    until(8, lambda: scraped.value("db_client_connection_use_time_seconds_count", "quantiles"))
    assert 8 == scraped.value("db_client_connection_wait_time_seconds_count", "quantiles")

    def quantile(of: float, metric: str) -> float:
        buckets = selected(f"db_client_connection_{metric}_time_seconds_bucket", "quantiles")
        return scraped.prometheus.value(f"histogram_quantile({of}, sum by (le) (rate({buckets}[30s])))")

    assert 2.5 < quantile(0.1, "use") < quantile(0.9, "use") <= 5
    assert quantile(0.4, "wait") <= 2.5 < quantile(0.6, "wait") <= 5
    use_sum, wait_sum = (
        scraped.value(f"db_client_connection_{m}_time_seconds_sum", "quantiles") for m in ("use", "wait")
    )
    assert 8 * 3 <= use_sum < 8 * 5
    assert 4 * 3 <= wait_sum < 8 * 5


def test_timeouts_and_their_failures(scraped: Scraped) -> None:
    """Callers that give up are counted as timeouts in both metrics, also if the service ignores the error."""
    scraped.open("impatient", size=1, seconds=0.1)
    scraped.do("/impatient/hold/1")
    assert 0 == scraped.do("/impatient/use/3")

    until(3, lambda: scraped.value("db_client_connection_timeouts_total", "impatient"))
    assert 3 == scraped.value('sqlalchemy_pool_acquire_failures_total{error_type="timeout"}', "impatient")
    assert 3 == scraped.value("sqlalchemy_pool_acquire_failures_total", "impatient")
    assert 1 == scraped.value("sqlalchemy_pool_checkouts_total", "impatient")
    scraped.do("/impatient/release")


def test_exhaustion_between_two_scrapes_is_seen(scraped: Scraped) -> None:
    """A pool that is exhausted for 200 ms between two scrapes shows in peaks, integrals and histogram."""
    name = exhaust_between_scrapes(scraped)
    until(2, lambda: scraped.value("sqlalchemy_pool_checkouts_total", name))

    def most(metric: str) -> float:
        return scraped.prometheus.value(f"max_over_time({selected(metric, name)}[1m])")

    assert (0, 0) == (most(USED), most("db_client_connection_pending_requests"))
    assert 1 == scraped.value("sqlalchemy_pool_used_peak", name)
    assert 2 == scraped.value("sqlalchemy_pool_pending_peak", name)
    assert 0.2 <= scraped.value("sqlalchemy_pool_saturated_seconds_total", name)
    assert 0.1 <= scraped.value("sqlalchemy_pool_pending_seconds_total", name)
    assert 1 >= scraped.value('db_client_connection_wait_time_seconds_bucket{le="0.1"}', name)
    assert 2 == scraped.value('db_client_connection_wait_time_seconds_bucket{le="+Inf"}', name)


def exhaust_between_scrapes(scraped: Scraped) -> str:
    """Exhaust a pool after a scrape and before the next, and return its name; a slow machine may need some tries."""
    for attempt in range(20):
        name = f"burst-{attempt}"
        scraped.open(name, size=1)
        scrape = scraped.wait_for_scrape()
        assert 2 == scraped.do(f"/{name}/use/2", seconds=0.1)
        if time.time() < scrape + SCRAPE_SECONDS:
            return name
    raise AssertionError("it always took more than a second")


def test_counters_never_fall(scraped: Scraped) -> None:
    """No counter, of any pool and endpoint, has fallen, although engines were disposed of during uses."""
    scraped.open("disposed", size=3)
    for _ in range(2):
        scraped.do("/disposed/hold/2")
        scraped.do("/disposed/use/1")
        scraped.do("/disposed/dispose")
        scraped.wait_for_scrape()
        scraped.do("/disposed/use/2")
        scraped.do("/disposed/release")
        scraped.wait_for_scrape()

    assert 10 == scraped.value("sqlalchemy_pool_checkouts_total", "disposed")
    assert 2 <= scraped.value('sqlalchemy_pool_closes_total{reason="dispose"}', "disposed")
    assert dict.fromkeys(counters(), 0.0) == {
        name: scraped.prometheus.value(f"max(resets({name}[10m]))") for name in counters()
    }


def counters() -> list[str]:
    """Return the names of all series that may only grow."""
    single = [metric.prometheus for metric in POOL_METRICS if metric.kind is Kind.COUNTER]
    histograms = [metric.family for metric in POOL_METRICS if metric.kind is Kind.HISTOGRAM]
    return single + [f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")]


def test_closed_pool_leaves_no_series(scraped: Scraped) -> None:
    """A pool that is closed is gone with the next scrape, and the others stay."""
    scraped.open("short", size=1)
    scraped.open("long", size=1)
    scraped.do("/short/close")

    until([], lambda: scraped.prometheus.series('{job="thread",db_client_connection_pool_name="short"}'))
    assert 0 == scraped.value(USED, "long")
