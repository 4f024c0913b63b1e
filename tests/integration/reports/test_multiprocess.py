"""PoolCollector in an application that has prometheus_client's page of all processes."""

from pathlib import Path

from tests.fixtures.deadlines import until
from tests.fixtures.sidecar import samples
from tests.integration.reports.programs import ENGINE, Service, requests
from tests.integration.reports.replays import replay

PROGRAM = (
    ENGINE
    + """
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

REGISTRY.register(pool_exporter.PoolCollector())

def page():
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    BESIDE
    return generate_latest(registry)

def app(environ, start_response):
    if environ["PATH_INFO"] == "/work":
        work()
    start_response("200 OK", [("content-type", "text/plain")])
    return [page() if environ["PATH_INFO"] == "/metrics" else b"here"]
"""
)


def checkouts(tmp_path: Path, beside: str) -> list[float]:
    """Return what the application's page has of 20 checkouts in two workers."""
    files = tmp_path / "multiprocess"
    files.mkdir()
    service = Service(tmp_path, PROGRAM.replace("BESIDE", beside), PROMETHEUS_MULTIPROC_DIR=str(files))
    with service.run("gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "service:app"):
        with requests(service, 20):
            pass
        until(20, lambda: service.pool().checkouts)
        return [*samples(service.get("/metrics"), "sqlalchemy_pool_checkouts_total").values()]


@replay("B9")
def test_b9_collector_in_the_default_registry(tmp_path: Path) -> None:
    """prometheus_client's page of all processes has no collector of the default registry; the documentation says so."""
    assert [] == checkouts(tmp_path, "pass")


@replay("B9")
def test_b9_collector_in_the_multiprocess_registry(tmp_path: Path) -> None:
    """A collector beside MultiProcessCollector is on that page, with the workers of the shared directory added up."""
    assert [20.0] == checkouts(tmp_path, "registry.register(pool_exporter.PoolCollector())")
