"""Which of this project's alerts a soak may raise, and a Prometheus that evaluates all rules as they are deployed."""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx

from tests.fixtures.prometheus import Prometheus, prometheus_server
from tests.soak.healthy_pools import ASYNC_POOL
from tests.soak.servers import ROOT

_log = logging.getLogger(__name__)

RULES: Final = sorted((ROOT / "deploy" / "prometheus").glob("pool.*.yaml"))
CRASHED: Final = "PoolExporterWorkersCrashed"

TRUE_ALERTS: Final[Mapping[tuple[str, str], str]] = {
    (CRASHED, ""): "workers are killed while they use a connection",
    (
        "SQLAlchemyPoolNearCapacity",
        ASYNC_POOL,
    ): "each minute's peak is the whole limit, in a soak of more than half an hour",
}
"""Why an alert of a pool (or of none) is no false one."""


class Watch:
    """Notes which alerts fire while it looks, and asks Prometheus in the end."""

    def __init__(self, prometheus: Prometheus) -> None:
        self.prometheus = prometheus
        self.fired: dict[tuple[str, str], str] = {}

    def look(self) -> None:
        """Note the alerts that fire now; nothing where Prometheus is late."""
        with suppress(httpx.TransportError):
            for alert in self.prometheus.alerts():
                if alert["state"] == "firing":
                    self._note(alert["labels"], f"{alert['activeAt']}: {alert['annotations']['description']}")

    def look_back(self, seconds: float) -> None:
        """Note the alerts that have fired at any evaluation of the last *seconds*."""
        for series in self.prometheus.series(f'max_over_time(ALERTS{{alertstate="firing"}}[{int(seconds)}s])'):
            self._note(series["metric"], "between two looks")

    def _note(self, labels: Mapping[str, Any], text: str) -> None:
        alert = labels["alertname"], labels.get("db_client_connection_pool_name", "")
        if alert not in self.fired:
            _log.info("%s fires: %s", alert, text)
        self.fired.setdefault(alert, text)


@contextmanager
def evaluated(binary: Path, port: int) -> Iterator[Watch]:
    """Run a Prometheus that scrapes a sidecar as often as it evaluates the rules."""
    with prometheus_server(binary, {"soak": port}, RULES, scrape_interval="5s", scrape_timeout="5s") as prometheus:
        yield Watch(prometheus)


@contextmanager
def repeating(*acts: Any, pause: float = 0) -> Iterator[None]:
    """Do each act in a thread of its own, again and again, with a pause in between."""
    is_over = threading.Event()

    def repeat(act: Any) -> None:
        while not is_over.is_set():
            act()
            if pause:
                is_over.wait(pause)

    threads = [threading.Thread(target=repeat, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
