"""The recipes of docs/how-to/recipes: the files and commands of a page, run as they are but for ports and brokers."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from tests.docs.pages import DOCS, ROOT, Block, blocks_of
from tests.fixtures.processes import Process, free_port, is_listening, running
from tests.fixtures.sidecar import samples
from tests.integration.reports.programs import need

PAGES: Final = DOCS / "how-to" / "recipes"
SERVERS: Final = ("celery", "gunicorn", "opentelemetry-instrument", "pool-exporter", "python3", "uvicorn", "uwsgi")
"""Programs that a recipe starts, and that run until they are stopped, unless a test says otherwise."""

OPTIONAL: Final = ("apscheduler", "django", "flask_sqlalchemy", "gevent", "uvicorn_worker")
"""Packages of recipes that not each environment of the tests has."""

_COMMAND: Final = re.compile(rf"(?:[A-Z_]+=\S+ )*(?:{'|'.join(SERVERS)}) ")
_PORT: Final = re.compile(r"\b(8000|8001|10042)\b")
_HEADING: Final = re.compile(r"^## ", re.MULTILINE)


@dataclass(frozen=True)
class Recipe:
    """One command of a page with what it needs.

    Attributes:
        page: The page.
        command: The command line.
        variables: The environment that the section exports.
        directories: The directories that it makes.
        urls: The URLs that it fetches; those of the page's first section if it has none.
    """

    page: Path
    command: str
    variables: Mapping[str, str]
    directories: tuple[str, ...]
    urls: tuple[str, ...]

    @property
    def id(self) -> str:
        """The name of its test."""
        return f"{self.page.stem}: {self.command}"


def recipes(page: Path) -> Iterator[Recipe]:
    """Yield each command of a page that starts a program; the commands of a section share its environment."""
    first: tuple[str, ...] = ()
    for section in _HEADING.split(page.read_text()):
        lines = [line for block in blocks_of(section, "sh") for line in block.text.splitlines()]
        urls = tuple(line.split()[-1] for line in lines if line.startswith("curl "))
        first = first or urls
        variables = dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
        made = tuple(name for line in lines if line.startswith("mkdir ") for name in line.split()[2:])
        for line in lines:
            if _COMMAND.match(line):
                yield Recipe(page, line, variables, made, urls or first)


def files(page: Path) -> list[Block]:
    """Return the blocks of a page that are files: those with a title."""
    return [block for block in blocks_of(page.read_text(), "python") if block.title]


@dataclass
class Kitchen:
    """A directory with the files of a page, in which a recipe runs on ports of its own.

    Attributes:
        path: The directory.
        recipe: The recipe.
        extra: Further variables of the environment.
    """

    path: Path
    recipe: Recipe
    extra: Mapping[str, str] = field(default_factory=dict)
    _ports: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Write the files, make the directories and choose the ports."""
        for block in files(self.recipe.page):
            (self.path / block.title).write_text(self._with_ports(block.text))
        for name in self.recipe.directories:
            (self.path / name).mkdir()
        self.log = self.path / "log"

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a reader who has installed everything into a virtual environment."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        own = {"PATH": path, "PYTHONPATH": str(ROOT), "VIRTUAL_ENV": sys.prefix}
        return {**os.environ, **own, **self.recipe.variables, **self.extra}

    @contextmanager
    def running(self) -> Iterator[Process]:
        """Run the command until all ports of its URLs are there."""
        ports = {httpx.URL(url).port for url in self.urls}
        is_ready = lambda: all(map(is_listening, filter(None, ports)))  # noqa: E731  # what the next line waits for
        command = ["bash", "-c", f"exec env {self._with_ports(self.recipe.command)}"]
        with running(command, self.log, is_ready, self.path, self.environ) as process:
            yield process

    @property
    def urls(self) -> list[str]:
        """The URLs of the recipe, on the ports of this run."""
        return [self._with_ports(url) for url in self.recipe.urls]

    def use(self, number: int) -> None:
        """Send so many requests at once to the URL that is not one of the exporter."""
        (url,) = (url for url in self.urls if "/metrics" not in url)
        with ThreadPoolExecutor(number) as threads:
            for answer in threads.map(lambda _: httpx.get(url, timeout=60), range(number)):
                answer.raise_for_status()

    def metrics(self) -> str:
        """Return the page of the metrics."""
        url = next(url for url in self.urls if "/metrics" in url)
        return httpx.get(url, timeout=60, follow_redirects=True).raise_for_status().text

    def checkouts(self) -> float:
        """Return how many checkouts the page of the metrics has."""
        return sum(samples(self.metrics(), "sqlalchemy_pool_checkouts_total").values())

    def _with_ports(self, text: str) -> str:
        return _PORT.sub(lambda found: str(self._ports.setdefault(found[0], free_port())), text)


def need_all(recipe: Recipe) -> None:
    """Skip the test where a program or package of the recipe is not installed."""
    program = recipe.command.split()[0]
    used = [block.text for block in files(recipe.page) if block.title.partition(".")[0] in recipe.command]
    text = "\n".join([recipe.command, *used])
    for name in [*OPTIONAL, *([program] if program in ("celery", "gunicorn", "uvicorn", "uwsgi") else [])]:
        if name == program or name in text:
            need(name)
