"""Each command of the recipes shows the number that it promises, with the files of its page as they are."""

import re
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.docs.pages import DOCS, README, programs
from tests.fixtures.deadlines import until
from tests.fixtures.sidecar import samples
from tests.integration.reports.recipes import PAGES, Kitchen, Recipe, need_all, recipes

pytestmark = pytest.mark.reports

REQUESTS = 20
ALL = [recipe for page in sorted(PAGES.glob("*.md")) for recipe in recipes(page)]
PUSHING = [recipe for recipe in ALL if recipe.page.stem == "otlp"]
OF_SERVERS = [
    recipe for recipe in ALL if recipe.command.startswith(("gunicorn", "uvicorn", "uwsgi")) and recipe not in PUSHING
]
OF_CELERY = [recipe for recipe in ALL if recipe.command.startswith("celery")]
OF_JOBS = [recipe for recipe in ALL if recipe.page.stem == "jobs"]

BROKER = """
import os

broker_url = "filesystem://"
broker_transport_options = {
    "data_folder_in": os.environ["BROKER"],
    "data_folder_out": os.environ.get("SENT", os.environ["BROKER"]),
    "control_folder": os.environ["BROKER"] + "/control",
}
"""
"""celeryconfig.py of the tests: a directory is the broker."""


def job(name: str) -> Recipe:
    """Return the recipe of the page on jobs that begins so."""
    return next(recipe for recipe in OF_JOBS if recipe.command.startswith(name))


@pytest.mark.parametrize("recipe", OF_SERVERS, ids=lambda recipe: recipe.id)
def test_server(tmp_path: Path, recipe: Recipe) -> None:
    """Each of 20 requests, to any worker, is a checkout on the page of the metrics; every other URL is answered."""
    need_all(recipe)
    kitchen = Kitchen(tmp_path, recipe)
    with kitchen.running():
        kitchen.use(REQUESTS)
        until(REQUESTS, kitchen.checkouts)
        answers = [httpx.get(url, timeout=60, follow_redirects=True).status_code for url in kitchen.urls]

    assert {200} == set(answers)


@pytest.mark.parametrize(
    "command",
    [
        "uvicorn service:app --port 8000 --workers 4",
        "gunicorn service:app --bind 127.0.0.1:8000 --workers 4",
        "gunicorn service:app --bind 127.0.0.1:8000 --workers 4 --preload",
        "gunicorn service:app --bind 127.0.0.1:8000 --workers 4 --worker-class gevent",
        "uwsgi --http-socket 127.0.0.1:8000",
    ],
)
def test_workers_without_a_directory(tmp_path: Path, command: str) -> None:
    """The log says that each scrape shows one of them by chance; with one worker it says nothing."""
    recipe = next(each for each in OF_SERVERS if each.command.startswith(command) and "lazy" not in each.command)
    need_all(recipe)
    of_one = re.sub("(workers|processes) 4", r"\1 1", recipe.command)
    logs = []
    for number, line in enumerate((recipe.command, of_one)):
        directory = tmp_path / str(number)
        directory.mkdir()
        kitchen = Kitchen(directory, replace(recipe, command=line, variables={}))
        with kitchen.running():
            kitchen.use(REQUESTS)
            _ = [kitchen.metrics() for _ in range(10)]
        logs.append(kitchen.log.read_text())

    assert [True, False] == ["accept requests on the same port: each scrape shows one" in log for log in logs]


@pytest.mark.parametrize("recipe", OF_CELERY, ids=lambda recipe: recipe.id)
def test_celery(tmp_path: Path, recipe: Recipe) -> None:
    """Each of 20 tasks, in any process, thread or greenlet, is a checkout on the port of the worker."""
    need_all(recipe)
    broker, sent = tmp_path / "broker", tmp_path / "sent"
    (broker / "control").mkdir(parents=True)
    sent.mkdir()
    recipe_of_worker = replace(recipe, urls=tuple(url for url in recipe.urls if "/metrics" in url))
    kitchen = Kitchen(tmp_path, recipe_of_worker, {"BROKER": str(broker)})
    (tmp_path / "celeryconfig.py").write_text(BROKER)
    (line,) = (each.command for each in ALL if each.page.stem == "celery" and each.command.startswith("python3"))
    send = line.replace("tasks.send_invoice.delay(1)", f"[tasks.send_invoice.delay(1) for _ in range({REQUESTS})]")
    with kitchen.running():
        subprocess.run(["bash", "-c", send], cwd=tmp_path, env=kitchen.environ | {"SENT": str(sent)}, check=True)
        for message in sent.iterdir():  # Complete ones: a worker ends when it reads half of one.
            message.rename(broker / message.name)

        until(REQUESTS, kitchen.checkouts, seconds=60)


def test_job_that_is_shorter_than_a_scrape(tmp_path: Path) -> None:
    """Each run of the script adds a checkout to the page of a sidecar that is started later."""
    kitchen = Kitchen(tmp_path, job("pool-exporter"))
    for _ in range(3):
        script = ["bash", "-c", job("python3 report.py").command]
        subprocess.run(script, cwd=tmp_path, env=kitchen.environ, check=True, timeout=60)
    with kitchen.running():
        page = kitchen.metrics()

    assert [3.0] == [*samples(page, "sqlalchemy_pool_checkouts_total").values()]
    assert 'unit="nightly-report"' in page


@pytest.mark.parametrize("name", ["python3 import_orders.py", "python3 schedule.py"])
def test_long_job(tmp_path: Path, name: str) -> None:
    """What it does is on the page that it serves, under the name of its unit."""
    recipe = replace(job(name), urls=job("pool-exporter").urls)
    need_all(recipe)
    kitchen = Kitchen(tmp_path, recipe)
    with kitchen.running():
        until(True, lambda: kitchen.checkouts() > 1)

        assert "-import" in name.replace("import_orders", "-import") + kitchen.metrics()


def test_beside_prometheus_client(tmp_path: Path) -> None:
    """With several workers the page has the application's own counter too."""
    recipe = next(recipe for recipe in OF_SERVERS if recipe.command.startswith("gunicorn workers:app"))
    kitchen = Kitchen(tmp_path, recipe)
    with kitchen.running():
        kitchen.use(REQUESTS)
        until(REQUESTS, kitchen.checkouts)

        assert [REQUESTS] == [*samples(kitchen.metrics(), "shop_requests_total").values()]


def test_several_services_in_one_directory(tmp_path: Path) -> None:
    """Each of two services is a series of its own on the pages of both."""
    first, second = (each for each in recipes(DOCS / "how-to" / "workers.md") if "SERVICE=" in each.command)
    kitchens = [Kitchen(tmp_path, replace(first, urls=("http://127.0.0.1:8000/metrics",)))]
    (tmp_path / "service.py").write_text(next(iter(programs(README))))
    kitchens.append(Kitchen(tmp_path, replace(second, directories=(), urls=("http://127.0.0.1:8001/metrics",))))
    with kitchens[0].running(), kitchens[1].running():
        for kitchen in kitchens:
            until({"shop", "stock"}, partial(services, kitchen))


def services(kitchen: Kitchen) -> set[str]:
    """Return the names of the services on a page."""
    found = samples(kitchen.metrics(), "db_client_connection_max")
    return {part.split('"')[1] for labels in found for part in labels.split(",") if part.startswith("service_name")}
