"""The recipes of OpenTelemetry push what they promise to a collector, with the documented extras and nothing more."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.fixtures.deadlines import until
from tests.fixtures.otlp import Collector, http_collector
from tests.integration.reports.recipes import PAGES, Kitchen, Recipe, recipes
from tests.telemetry import decoded

pytestmark = pytest.mark.reports

REQUESTS = 20
BY_PROGRAM = {recipe.command.split()[0]: recipe for recipe in recipes(PAGES / "otlp.md")}
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture(name="collector")
def _collector() -> Iterator[Collector]:
    with http_collector() as collector:
        yield collector


def checkouts(collector: Collector) -> float:
    """Return the checkouts of the last push that has some."""
    name = "sqlalchemy_pool_checkouts_total"
    found = [[number for (series, _), number in decoded(each).items() if series == name] for each in collector.exports]
    return max((sum(each) for each in found if each), default=0)


def pushing(path: Path, recipe: Recipe, collector: Collector, **extra: str) -> Kitchen:
    """Return the recipe with the address of the collector."""
    variables = {**recipe.variables, ENDPOINT: collector.endpoint}
    urls = tuple(url for url in BY_PROGRAM["uvicorn"].urls if "orders" in url)
    return Kitchen(path, replace(recipe, variables=variables, urls=urls), extra)


def test_last_interval_is_pushed(tmp_path: Path, collector: Collector) -> None:
    """Ended by SIGTERM long before its first interval, the service has pushed every checkout, as its lifespan says."""
    kitchen = pushing(tmp_path, BY_PROGRAM["uvicorn"], collector)
    with kitchen.running():
        kitchen.use(REQUESTS)

    assert REQUESTS == checkouts(collector)


@pytest.fixture(name="clean", scope="module")
def _clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the programs of an environment that has what the page installs, and this package from its source."""
    path = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", path], check=True)
    packages = [f"pool-exporter[otel-distro] @ file://{ROOT}", "fastapi", "uvicorn"]
    pure = {**os.environ, "POOL_EXPORTER_PURE": "1"}
    pure.pop("PYTHONPATH", None)
    made = subprocess.run(
        [path / "bin" / "pip", "install", "-q", *packages], check=False, env=pure, capture_output=True
    )
    if made.returncode:
        pytest.skip(f"no package index: {made.stderr.decode()[-200:]}")
    return path / "bin"


def test_without_code(tmp_path: Path, clean: Path, collector: Collector) -> None:
    """The documented command pushes the pools of a program that does not know this package."""
    search = os.pathsep.join([str(clean), os.environ["PATH"]])
    own = {"PATH": search, "PYTHONPATH": "", "VIRTUAL_ENV": "", "OTEL_METRIC_EXPORT_INTERVAL": "200"}
    kitchen = pushing(tmp_path, BY_PROGRAM["opentelemetry-instrument"], collector, **own)
    with kitchen.running():
        kitchen.use(REQUESTS)
        until(REQUESTS, lambda: checkouts(collector), seconds=60)


def test_without_a_distro(tmp_path: Path, clean: Path, collector: Collector) -> None:
    """The log says that nothing is pushed, and what is missing."""
    subprocess.run([clean / "pip", "uninstall", "-qy", "opentelemetry-distro"], check=True)
    search = os.pathsep.join([str(clean), os.environ["PATH"]])
    own = {"PATH": search, "PYTHONPATH": "", "VIRTUAL_ENV": ""}
    kitchen = pushing(tmp_path, BY_PROGRAM["opentelemetry-instrument"], collector, **own)
    with kitchen.running():
        kitchen.use(REQUESTS)

    assert 1 == kitchen.log.read_text().count("pip install opentelemetry-distro")
