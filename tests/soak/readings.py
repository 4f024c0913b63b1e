"""What a scraper sees of a sidecar: counters that fall, and numbers that are to be zero all the time."""

import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from tests.fixtures.sidecar import samples

SCRAPE_SECONDS: Final = 0.1
WAITS: Final = "db_client_connection_wait_time_seconds_count"
USED_SECONDS: Final = "sqlalchemy_pool_used_seconds_total"
INTEGRALS: Final = (USED_SECONDS, "sqlalchemy_pool_pending_seconds_total", "sqlalchemy_pool_saturated_seconds_total")

ALWAYS_ZERO: Final = (
    "db_client_connection_timeouts_total",
    "sqlalchemy_pool_acquire_failures_total",
    "sqlalchemy_pool_exhaustions_total",
    "sqlalchemy_pool_leaked_total",
    "sqlalchemy_pool_lost_places",
    "sqlalchemy_pool_nested_acquires_total",
    "sqlalchemy_pool_orphaned",
    "sqlalchemy_pool_server_shared",
    "pool_exporter_degraded",
    "pool_exporter_files_set_aside",
    "pool_exporter_compaction_errors_total",
    "pool_exporter_hook_errors_total",
    "pool_exporter_pools_dropped",
    "pool_exporter_transport_errors_total",
)
"""No pool is ever exhausted, no connection is lost, no directory is full: whatever is killed, these are zero."""

_SAMPLE: Final = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")


def counters(page: str) -> Iterator[tuple[str, float]]:
    """Yield the name with labels and the value of each sample that may only grow, as the page's types say."""
    grows = False
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            grows = line.rpartition(" ")[2] in ("counter", "histogram")
        elif grows and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            yield name, float(value)


def not_zero(page: str) -> dict[str, float]:
    """Return the samples of metrics that are to be zero, and are not."""
    return {
        f"{name}{{{labels or ''}}}": float(value)
        for name, labels, value in _SAMPLE.findall(page)
        if name in ALWAYS_ZERO and float(value)
    }


def page_of(port: int) -> str:
    """Return the sidecar's page."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def total(page: str, pool: str, metric: str = WAITS) -> float:
    """Return a metric's sum for a pool."""
    return sum(value for labels, value in samples(page, metric).items() if f'pool_name="{pool}"' in labels)


@dataclass
class Reading:
    """What one scraper has seen of one sidecar.

    Attributes:
        falls: Each counter that fell, with its values before and after.
        faults: What was to be zero and was not, with its largest value.
        seconds: How long each scrape took.
    """

    port: int
    falls: list[tuple[str, float, float]] = field(default_factory=list)
    faults: dict[str, float] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    _last: dict[str, float] = field(default_factory=dict)

    def scrape(self) -> None:
        """Scrape, and compare with the scrape before; do nothing if no sidecar responds."""
        started = time.perf_counter()
        try:
            page = page_of(self.port)
        except (OSError, HTTPException):
            return
        self.seconds.append(time.perf_counter() - started)
        self._compare(page)
        time.sleep(SCRAPE_SECONDS)

    def _compare(self, page: str) -> None:
        now = dict(counters(page))
        self.falls += [
            (name, self._last[name], now.get(name, 0)) for name in self._last if self._last[name] > now.get(name, 0)
        ]
        self._last = now
        for name, value in not_zero(page).items():
            self.faults[name] = max(value, self.faults.get(name, 0), key=abs)

    def median(self) -> float:
        """Return the median seconds of a scrape."""
        return statistics.median(self.seconds)


def weight(pid: int) -> tuple[int, int]:
    """Return a process's open descriptors, and its memory in kB."""
    memory = Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), int(memory)
