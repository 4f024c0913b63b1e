"""Imports go down only: the drawing of the layers, as a table, held against every import statement of the package."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pool_exporter"

LEVELS: Mapping[str, int] = {
    # What there is to measure, and what can go wrong.
    "metric": 0,
    "catalog_exporter": 0,
    "catalog": 0,
    "catalog_server": 0,
    "errors": 0,
    # Where the numbers stand, and what they look like to a reader.
    "layout": 1,
    "snapshot": 1,
    "servers": 1,
    # Numbers in, numbers out: no clock, no IO, nothing of third parties.
    "slots": 2,
    "connection": 2,
    "slow": 2,
    "state": 2,
    "locked": 2,
    "beside": 2,
    "merge": 2,
    "schema": 2,
    "fileformat": 2,
    "ownership": 2,
    "folding": 2,
    "advice": 2,
    "lint": 2,
    "render": 2,
    "negotiation": 2,
    # The world: SQLAlchemy, files, servers, the environment.
    "hooks": 3,
    "acquire": 3,
    "guard": 3,
    "identity": 3,
    "doors": 3,
    "drift": 3,
    "lifecycle": 3,
    "owners": 3,
    "records": 3,
    "directory": 3,
    "accumulator": 3,
    "fold": 3,
    "heartbeat": 3,
    "process": 3,
    "mark": 3,
    "shm": 3,
    "transport": 3,
    "registry": 3,
    "workers": 3,
    "probe": 3,
    "settings": 3,
    "version": 3,
    "exposition": 3,
    # The sidecar's server: where it listens, whom it answers, what it logs.
    "addresses": 3,
    "configfile": 3,
    "gate": 3,
    "logs": 3,
    "passwords": 3,
    "tls": 3,
    "visits": 3,
    "webconfig": 3,
    "yamltext": 3,
    "otelsdk": 3,
    "readerhook": 3,
    "replay": 3,
    "finished": 3,
    "otel": 3,
    "takeover": 3,
    "traces": 3,
    "resources": 3,
    "pusher": 3,
    "otlp": 3,
    # What a user holds.
    "monitor": 4,
    "everywhere": 4,
    "collector": 4,
    "app": 4,
    "server": 4,
    "plugin": 4,
    "instrumentor": 4,
    "sidecar": 4,
    "serve": 4,
    "dump": 4,
    "healthcheck": 4,
    "demo": 4,
    "cli": 4,
    # `pool_exporter/__init__.py`: only names of the level it is on.
    "__init__": 4,
}

# Imports on one level. All others go strictly down.
SIDEWAYS: Mapping[str, set[str]] = {
    # The catalogue is one list, in two files, of what a metric is.
    "catalog_exporter": {"metric"},
    "catalog": {"catalog_exporter", "metric"},
    # The table of the servers' side, beside the pools'.
    "catalog_server": {"catalog", "metric"},
    # What the living pools hold of a server, read from their words.
    "servers": {"layout", "snapshot"},
    # A probe's URL is read as a setting is, and names its server as a pool does.
    "probe": {"identity", "settings"},
    # decode() reads the words where the layout puts them.
    "snapshot": {"layout"},
    # Events in, connections moved, slots written.
    "shm": {"directory", "process"},  # Both sides name the files alike; its header tells of this process.
    "accumulator": {"directory"},  # It adds up what was found.
    "fold": {"accumulator", "directory"},
    "workers": {"accumulator", "directory", "fold", "process", "version"},  # All of a directory, as one reader sees it.
    # Where this process's words stand, and all that is watched in it.
    "transport": {"guard", "shm", "version"},
    "heartbeat": {"guard"},
    "registry": {"doors", "guard", "heartbeat", "hooks", "mark", "transport", "workers"},
    "state": {"connection", "slots", "slow"},
    # The same machine under a lock.
    "locked": {"slots", "state"},
    "beside": {"slots"},
    # The file holds the schema of its own words.
    "fileformat": {"schema"},
    # Of the same pool, what has no public name.
    "identity": {"records"},
    # The timed connect() is one half of what is replaced, the rest of a connection's life the other.
    "acquire": {"doors", "guard", "owners", "records"},
    "lifecycle": {"acquire", "doors", "guard", "records"},
    "drift": {"records"},
    "hooks": {"acquire", "doors", "drift", "guard", "lifecycle", "owners", "records"},
    # The two ways into a MeterProvider: finished metrics through the hook, or instruments.
    "otelsdk": {"version"},
    "readerhook": {"guard"},
    "finished": {"otelsdk", "readerhook"},
    "otel": {"finished", "guard", "replay", "version"},
    # What is pushed, by whom, and as whose.
    "pusher": {"otelsdk", "resources"},
    "otlp": {"pusher", "resources"},
    # A span says what failed in the metrics' words.
    "traces": {"guard", "records", "version"},
    # It instruments each pool that it meets.
    "everywhere": {"monitor"},
    # They collect from the monitors of the process, or serve them, unless they are given another source.
    "collector": {"monitor"},
    "app": {"monitor"},
    "server": {"monitor"},
    # The two doors without code open into instrument().
    "plugin": {"monitor"},
    "instrumentor": {"everywhere", "monitor"},
    # The web config: YAML, its keys, TLS as it says, the file as it is now, and what a request has to pass by it.
    "webconfig": {"yamltext"},
    "tls": {"webconfig"},
    "configfile": {"tls", "webconfig"},
    "gate": {"configfile", "passwords", "webconfig"},
    "visits": {"configfile", "tls"},
    # It serves the same pages from another source.
    "sidecar": {"app"},
    # The commands, which find the directory alike.
    "serve": {"sidecar"},
    "dump": {"serve"},
    # Names of this level, for users; the demo and the command line are built on them as a user's service is.
    "__init__": {"app", "collector", "everywhere", "monitor", "server"},
    "demo": {"__init__", "healthcheck"},
    "cli": {"__init__", "demo", "dump", "healthcheck", "serve", "sidecar"},
}

# Imports on one level for types alone, under TYPE_CHECKING: they never run.
SIDEWAYS_FOR_TYPES: Mapping[str, set[str]] = {
    "snapshot": {"servers"},  # The whole holds the servers' side, too.
    "connection": {"state"},  # A connection knows the pool that it belongs to.
}

PURE_LEVEL = 2

# What levels 0 to 2 may use of the standard library: nothing that reads a clock, opens anything or starts a thread.
PURE_STDLIB = {
    "__future__",
    "abc",
    "array",
    "bisect",
    "collections",
    "contextlib",
    "dataclasses",
    "enum",
    "functools",
    "gzip",
    "hashlib",
    "html",
    "itertools",
    "json",
    "math",
    "operator",
    "re",
    "string",
    "struct",
    "textwrap",
    "types",
    "typing",
    "weakref",
    "zlib",
}

# (module, what it imports) beyond PURE_STDLIB.
PURE_EXCEPTIONS = {
    ("locked", "threading.RLock"),  # A lock starts nothing.
    ("locked", "sys"),  # Only it knows whether there is a GIL.
    ("render.servers", "prometheus_client"),  # As the next.
    ("render.prometheus", "prometheus_client"),  # The encoding of the formats is its own library's.
}

IF_TYPES = "if TYPE_CHECKING:\n    "

IMPURE_CALLS = {"breakpoint", "eval", "exec", "input", "open", "print"}


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name within it: catalog, render.prometheus, demo.__init__."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in sorted(PACKAGE.rglob("*.py"))
        if "__pycache__" not in path.parts
    }


def first(name: str) -> str:
    """Return the first part of a dotted name: of a module, its row in the table, because a subpackage is one row."""
    return name.partition(".")[0]


def level(row: str) -> int:
    """Return the level of a row of the table; a module that is not in it is above all, and fails a test of its own."""
    return LEVELS.get(row, len(LEVELS))


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the full dotted name of everything that is imported, wherever in the file: os, threading.RLock."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write the import in full, not relative"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def without_type_checking(tree: ast.Module) -> ast.Module:
    """Return *tree* without what only type checkers read."""
    kept = [node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")]
    return ast.Module(kept, [])


def own_part(name: str) -> str:
    """Return the row of the table that *name*, such as pool_exporter.render.page, belongs to."""
    row = first(name.partition(".")[2])
    return row if row in LEVELS or (row and (PACKAGE / f"{row}.py").exists()) else "__init__"


def is_own(name: str) -> bool:
    """Whether *name* is of this package."""
    return first(name) == "pool_exporter"


def wrong_directions(module: str, tree: ast.Module) -> list[str]:
    """Return what *module* imports of the package although it is neither below it nor a sideways edge."""
    source = first(module)
    allowed = SIDEWAYS.get(source, set())
    wrong = _not_below(source, tree) - allowed - SIDEWAYS_FOR_TYPES.get(source, set())
    wrong |= _not_below(source, without_type_checking(tree)) - allowed
    return sorted(f"{module} imports {target}" for target in wrong)


def _not_below(source: str, tree: ast.Module) -> set[str]:
    targets = {own_part(name) for name in imported(tree) if is_own(name)} - {source}
    return {target for target in targets if level(target) >= level(source)}


def impurities(module: str, tree: ast.Module) -> list[str]:
    """Return what *module*, of levels 0 to 2, imports or calls although it reaches out of the values it is given."""
    imports = [
        f"{module} imports {name}"
        for name in imported(tree)
        if not is_own(name)
        and first(name) not in PURE_STDLIB
        and not {(module, name), (module, first(name))} & PURE_EXCEPTIONS
    ]
    calls = [
        f"{module} calls {node.func.id}()"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS
    ]
    return sorted(imports + calls)


def parse(path: Path) -> ast.Module:
    """Parse one file of the package."""
    return ast.parse(path.read_text(), filename=str(path))


def test_every_module_has_a_level() -> None:
    """A new module is put into the table, deliberately, before anything imports it."""
    unlisted = {first(module) for module in modules()} - set(LEVELS)

    assert set() == unlisted


def test_sideways_edges_make_no_circle() -> None:
    """The edges within a level have an order, and each stays within its level."""
    edges = [(a, b) for table in (SIDEWAYS, SIDEWAYS_FOR_TYPES) for a, targets in table.items() for b in targets]
    crossing = [(a, b) for a, b in edges if LEVELS[a] != LEVELS[b]]

    assert [] == crossing
    TopologicalSorter(SIDEWAYS).prepare()


@pytest.mark.parametrize("module", modules())
def test_imports_go_down(module: str) -> None:
    """A module imports what is below it, at the top of the file or inside a function."""
    assert [] == wrong_directions(module, parse(modules()[module]))


@pytest.mark.parametrize("module", [name for name in modules() if level(first(name)) <= PURE_LEVEL])
def test_low_levels_are_pure(module: str) -> None:
    """Levels 0 to 2 are functions of what they are given: no clock, IO, thread or third party."""
    assert [] == impurities(module, parse(modules()[module]))


@pytest.mark.parametrize(
    ("module", "line", "expected"),
    [
        ("catalog", "from pool_exporter.layout import WORDS", "catalog imports layout"),
        ("catalog", "from pool_exporter import layout", "catalog imports layout"),
        ("catalog", "import pool_exporter.layout as layout", "catalog imports layout"),
        ("layout", "def f():\n    from pool_exporter.hooks import listen", "layout imports hooks"),
        ("layout", "from pool_exporter.snapshot import decode", "layout imports snapshot"),
        ("render.page", "from pool_exporter.app import app", "render.page imports app"),
        ("monitor", "from pool_exporter import instrument", "monitor imports __init__"),
        ("monitor", "import pool_exporter", "monitor imports __init__"),
        ("app", "from pool_exporter.demo.load import run", "app imports demo"),
        ("connection", "from pool_exporter.state import PoolState", "connection imports state"),
        ("state", f"{IF_TYPES}from pool_exporter.hooks import Hooks", "state imports hooks"),
        ("slots", f"{IF_TYPES}from pool_exporter.state import PoolState", "slots imports state"),
    ],
)
def test_wrong_direction_is_found(module: str, line: str, expected: str) -> None:
    """However an upward or sideways import is written, the test above sees it."""
    assert [expected] == wrong_directions(module, ast.parse(line))


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("layout", "from pool_exporter.catalog import METRICS"),
        ("state", "from pool_exporter.slots import Words"),
        ("render.page", "from pool_exporter.render.top import rows"),
        ("hooks", "import sqlalchemy"),
        ("__init__", "from pool_exporter.monitor import instrument"),
        ("connection", f"{IF_TYPES}from pool_exporter.state import PoolState"),
    ],
)
def test_right_direction_is_let_through(module: str, line: str) -> None:
    """Imports that go down, along a listed edge, within a subpackage or out of the package are no finding."""
    assert [] == wrong_directions(module, ast.parse(line))


@pytest.mark.parametrize(
    ("module", "line", "expected"),
    [
        ("state", "import time", "state imports time"),
        ("state", "from time import monotonic_ns", "state imports time.monotonic_ns"),
        ("state", "def f():\n    import os.path", "state imports os.path"),
        ("state", "import sqlalchemy", "state imports sqlalchemy"),
        ("state", "from threading import RLock", "state imports threading.RLock"),
        ("locked", "from threading import Thread", "locked imports threading.Thread"),
        ("locked", "import threading", "locked imports threading"),
        ("slots", "import sys", "slots imports sys"),
        (
            "render.page",
            "from prometheus_client import generate_latest",
            "render.page imports prometheus_client.generate_latest",
        ),
        ("render.prometheus", "import starlette", "render.prometheus imports starlette"),
        ("lint", "text = open('x').read()", "lint calls open()"),
    ],
)
def test_impurity_is_found(module: str, line: str, expected: str) -> None:
    """A clock, a file, a thread or a third party's code is a finding on the low levels."""
    assert [expected] == impurities(module, ast.parse(line))


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("locked", "from threading import RLock"),
        ("render.prometheus", "from prometheus_client.core import Metric"),
        ("render.prometheus", "import prometheus_client"),
        ("snapshot", "from dataclasses import dataclass"),
    ],
)
def test_purity_is_let_through(module: str, line: str) -> None:
    """The listed exceptions hold for the listed module."""
    assert [] == impurities(module, ast.parse(line))


def test_relative_imports_are_refused() -> None:
    """An import that does not say where it leads cannot be held against the table."""
    with pytest.raises(AssertionError, match="not relative"):
        list(imported(ast.parse("from . import catalog")))


@pytest.mark.parametrize("library", ["starlette", "uvicorn", "opentelemetry"])
def test_importing_the_package_imports_no_server(library: str) -> None:
    """`import pool_exporter` costs an application nothing that it does not use."""
    code = f"import sys, pool_exporter; print(sorted(m for m in sys.modules if m.partition('.')[0] == {library!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()
