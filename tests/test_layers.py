"""The wings import only downwards: the layout of docs/explanation/architecture.md against every import statement."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pool_exporter"

LEVELS: tuple[tuple[str, ...], ...] = (
    ("errors", "version", "environment", "arguments", "database_url", "hook_errors", "encodable", "units", "compiled"),
    ("metrics",),
    ("state",),
    ("hooks", "workers", "otel", "probe"),
    ("diagnosis",),
    ("advice",),
    ("runtime",),
    ("web",),
    ("sidecar",),
    ("demo",),
    ("commands",),
    ("__init__", "__main__", "cli", "plugin", "instrumentor", "celery_units"),
)
"""The wings and the modules of the root, lowest first. A wing imports itself and what is on lower levels; wings on one
level do not import each other."""

ENTRANCES = frozenset(LEVELS[-1])
GROUND = frozenset(LEVELS[0])
DEMO_MAY_IMPORT = {"__init__", "cli"}
"""The demo is a program of a user: it imports the package's public names and starts its command line."""

THIRD_PARTY: Mapping[str, set[str]] = {
    "metrics": set(),
    "state": set(),
    "hooks": {"sqlalchemy"},
    "workers": set(),
    "otel": {"opentelemetry", "sqlalchemy", "google", "requests"},
    "probe": {"psycopg", "sqlalchemy"},
    "diagnosis": set(),
    "advice": {"sqlalchemy"},
    "runtime": {"sqlalchemy", "opentelemetry"},
    "web": {"prometheus_client", "starlette"},
    "sidecar": {"bcrypt", "cryptography", "pydantic", "starlette", "uvicorn", "yaml"},
    "commands": {"opentelemetry", "prometheus_client", "rich"},
}
"""What each wing may import besides the standard library and `typing_extensions`; demo and entrances: anything."""

PURE = ("metrics", "state")
PURE_STDLIB = {
    *("__future__", "abc", "array", "bisect", "collections", "contextlib", "dataclasses", "enum", "functools"),
    *("itertools", "json", "math", "operator", "re", "string", "struct", "types", "typing", "weakref"),
}
PURE_EXCEPTIONS = {("state.locked_pool_state", "threading.RLock"), ("state.locked_pool_state", "sys")}
"""A lock starts nothing, and only that module has to know whether there is a GIL."""
PURE_REACHES = {("state.__init__", "compiled"), ("metrics.validation", "encodable")}
"""The package looks for the compiled modules of `state` in that folder first; a text is made encodable in one way."""

IMPURE_CALLS = {"breakpoint", "eval", "exec", "input", "open", "print"}

ROOT_FILES_MAX = 12
WING_FILES_MAX = 16
CHAIN_MAX = 12
"""The design's bound on the wings in a chain of imports. A module of the root counts as a wing."""


@cache
def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name within it: `errors`, `web.page`, `demo.__init__`."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in sorted(PACKAGE.rglob("*.py"))
        if "__pycache__" not in path.parts
    }


def first(name: str) -> str:
    """Return the first part of a dotted name: for a module of the package, its wing."""
    return name.partition(".")[0]


def level(wing: str) -> int:
    """Return the level of a wing; one that is in no row is above all, and fails a test of its own."""
    return next((i for i, row in enumerate(LEVELS) if wing in row), len(LEVELS))


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the full dotted name of everything that is imported, wherever in the file: os, threading.RLock."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write the import in full, not relative"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(tree: ast.Module) -> Iterator[str]:
    """Yield the modules of this package that *tree* imports, also for types alone, by their name within it."""
    known = modules()
    for name in imported(tree):
        if first(name) != "pool_exporter":
            continue
        parts = name.split(".")[1:]
        names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
        yield next((each for each in names if each in known or f"{each}.__init__" in known), "__init__")


def wrong_directions(module: str, tree: ast.Module) -> list[str]:
    """Return what *module* imports of the package although it is neither below its wing nor in it."""
    wing = first(module)
    allowed = DEMO_MAY_IMPORT if wing == "demo" else set()
    wrong = {
        target
        for target in own(tree)
        if first(target) != wing and target not in allowed and level(first(target)) >= level(wing)
        if not {wing, first(target)} <= ENTRANCES | {""} and not {wing, first(target)} <= GROUND
    }
    return sorted(f"{module} imports {target}" for target in wrong)


def strangers(module: str, tree: ast.Module) -> list[str]:
    """Return what *module* imports of third parties although its wing may not."""
    wing = first(module)
    if wing not in THIRD_PARTY:
        return []
    allowed = THIRD_PARTY[wing] | sys.stdlib_module_names | {"pool_exporter", "typing_extensions"}
    return sorted({f"{module} imports {first(name)}" for name in imported(tree) if first(name) not in allowed})


def impurities(module: str, tree: ast.Module) -> list[str]:
    """Return what *module*, of a pure wing, imports or calls although it reaches out of the values it is given."""
    imports = [
        f"{module} imports {name}"
        for name in imported(tree)
        if first(name) not in PURE_STDLIB | {"pool_exporter"} and (module, name) not in PURE_EXCEPTIONS
    ]
    calls = [
        f"{module} calls {node.func.id}()"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS
    ]
    return sorted(imports + calls)


@cache
def parse(path: Path) -> ast.Module:
    """Parse one file of the package, once for all tests."""
    return ast.parse(path.read_text(), filename=str(path))


def graph() -> dict[str, set[str]]:
    """Return what each module imports of the package, without the public names that the demo uses."""
    found = {name: set(own(parse(path))) - {name} for name, path in modules().items()}
    for name in found:
        found[name] -= DEMO_MAY_IMPORT if first(name) == "demo" else set()
    return {name: {each for each in targets if each in found} for name, targets in found.items()}


def imported_wings() -> dict[str, set[str]]:
    """Return the other wings that each wing imports."""
    found: dict[str, set[str]] = {}
    for name, targets in graph().items():
        found.setdefault(first(name), set()).update(set(map(first, targets)) - {first(name)})
    return found


def test_every_module_is_in_a_wing() -> None:
    """A new wing, or a new module in the root, is put into the table deliberately; no row is for nothing."""
    there = {first(module) for module in modules()}
    listed = {wing for row in LEVELS for wing in row}

    assert set() == there - listed
    assert set() == listed - there


@pytest.mark.parametrize(
    "table", [{*THIRD_PARTY}, {*PURE}, DEMO_MAY_IMPORT, {module for module, _ in PURE_EXCEPTIONS | PURE_REACHES}]
)
def test_no_rule_is_for_nothing(table: set[str]) -> None:
    """Each rule is for a wing or a module that exists."""
    there = {*modules(), *map(first, modules())}

    assert set() == table - there


@pytest.mark.parametrize("module", modules())
def test_imports_go_down(module: str) -> None:
    """A module imports its own wing and wings below it, at the top of the file, inside a function or for types."""
    assert [] == wrong_directions(module, parse(modules()[module]))


def test_there_is_no_circle() -> None:
    """No module imports itself through others, not even for types."""
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' -> '.join(error.args[1])}")


def test_no_chain_of_imports_is_longer_than_the_design_says() -> None:
    """From any wing to one that it imports, and on to one that this imports, the end is reached in a few steps."""
    chains = dict[str, tuple[str, ...]]()
    wings = imported_wings()
    for wing in TopologicalSorter(wings).static_order():
        chains[wing] = (wing, *max((chains[each] for each in wings[wing]), key=len, default=()))
    longest = max(chains.values(), key=len)

    assert len(longest) <= CHAIN_MAX, longest


def test_folders_are_small() -> None:
    """The root and each wing have few enough modules to be read at a glance."""
    root = [path.name for path in PACKAGE.glob("*.py")]
    wings = {path.name: len(list(path.glob("*.py"))) for path in PACKAGE.iterdir() if path.is_dir()}

    assert len(root) <= ROOT_FILES_MAX, root
    assert {} == {wing: files for wing, files in wings.items() if files > WING_FILES_MAX}


@pytest.mark.parametrize("module", modules())
def test_third_parties(module: str) -> None:
    """Each wing imports only the libraries that it exists to deal with."""
    assert [] == strangers(module, parse(modules()[module]))


@pytest.mark.parametrize("module", [name for name in modules() if first(name) in PURE])
def test_pure_wings(module: str) -> None:
    """`metrics` and `state` are functions of what they are given: no clock, IO, thread or third party."""
    assert [] == impurities(module, parse(modules()[module]))


@pytest.mark.parametrize(
    ("module", "line", "expected"),
    [
        ("metrics.metric", "from pool_exporter.state.layout import X", "metrics.metric imports state.layout"),
        ("metrics.metric", "from pool_exporter.state import layout", "metrics.metric imports state.layout"),
        ("metrics.metric", "import pool_exporter.state.layout as x", "metrics.metric imports state.layout"),
        (
            "hooks.pool_hooks",
            "def f():\n    import pool_exporter.workers.compaction",
            "hooks.pool_hooks imports workers.compaction",
        ),
        ("state.layout", "if TYPE_CHECKING:\n    from pool_exporter.hooks import x", "state.layout imports hooks"),
        ("runtime.monitor", "from pool_exporter import instrument", "runtime.monitor imports __init__"),
        ("demo.load", "from pool_exporter.commands import serve", "demo.load imports commands.serve"),
    ],
)
def test_wrong_direction_is_found(module: str, line: str, expected: str) -> None:
    """However an upward or sideways import is written, the test above sees it."""
    assert [expected] == wrong_directions(module, ast.parse(line))


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("state.layout", "from pool_exporter.metrics.pool_metrics import X"),
        ("state.layout", "from pool_exporter.state.connection import X"),
        ("demo.service", "from pool_exporter import instrument"),
        ("demo.fleet", "from pool_exporter.cli import main"),
        ("cli", "import pool_exporter"),
        ("hooks.pool_hooks", "import sqlalchemy"),
    ],
)
def test_right_direction_is_let_through(module: str, line: str) -> None:
    """Imports that go down, within a wing or out of the package are not reported."""
    assert [] == wrong_directions(module, ast.parse(line))


def reaches_out(module: str, tree: ast.Module) -> list[str]:
    """Return what *module*, of a pure wing, imports of the package although it is in no pure wing."""
    targets = {target for target in own(tree) if (module, target) not in PURE_REACHES}
    return sorted(f"{module} imports {target}" for target in targets if first(target) not in PURE)


@pytest.mark.parametrize("module", [name for name in modules() if first(name) in PURE])
def test_pure_wings_import_pure_wings(module: str) -> None:
    """`metrics` and `state` import nothing else of the package: no settings, no log, no errors of files."""
    assert [] == reaches_out(module, parse(modules()[module]))


def test_reaching_out_is_found() -> None:
    """The import of a root module, which may read the environment, is reported in a pure wing."""
    assert ["state.layout imports environment"] == reaches_out(
        "state.layout", ast.parse("from pool_exporter import environment")
    )


@pytest.mark.parametrize(
    ("module", "line", "expected"),
    [
        ("state.pool_state", "from time import monotonic_ns", "state.pool_state imports time.monotonic_ns"),
        ("state.pool_state", "def f():\n    import os.path", "state.pool_state imports os.path"),
        ("state.layout", "from threading import RLock", "state.layout imports threading.RLock"),
        ("metrics.metric", "text = open('x').read()", "metrics.metric calls open()"),
    ],
)
def test_impurity_is_found(module: str, line: str, expected: str) -> None:
    """A clock, a file, a thread or a third party's code is reported in a pure wing."""
    assert [expected] == impurities(module, ast.parse(line))


def test_stranger_is_found() -> None:
    """The import of a library that only another wing may use is reported."""
    assert ["workers.compaction imports starlette"] == strangers(
        "workers.compaction", ast.parse("import starlette.routing")
    )


def test_relative_imports_are_refused() -> None:
    """A relative import is refused, because the table has full names."""
    with pytest.raises(AssertionError, match="not relative"):
        list(imported(ast.parse("from . import catalog")))


def loaded(code: str) -> set[str]:
    """Return the modules that a new interpreter has loaded after *code*."""
    command = [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"]
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


INSTRUMENTED = """
import os, sqlalchemy, pool_exporter
os.environ.pop("POOL_EXPORTER_DIR", None)
monitor = pool_exporter.instrument(sqlalchemy.create_engine("sqlite://"))
"""
IN_MEMORY = f"{INSTRUMENTED}\nmonitor.snapshot(), monitor.diagnose()"
NOT_FOR_COUNTING = {
    *(
        "pool_exporter.metrics.snapshot",
        "pool_exporter.metrics.server_snapshot",
        "pool_exporter.metrics.reports.report_json",
    ),
    *("pool_exporter.state.details", "difflib"),
}
"""What is there to show all pools, a server or a wrong setting: the import of the package has a budget."""


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        (
            "import pool_exporter",
            {"starlette", "uvicorn", "opentelemetry", "pydantic", "sqlalchemy", "prometheus_client"},
        ),
        (INSTRUMENTED, NOT_FOR_COUNTING),
        (IN_MEMORY, {"starlette", "uvicorn", "opentelemetry", "pydantic"}),
        (IN_MEMORY, {f"pool_exporter.{wing}" for wing in ("workers", "probe", "sidecar", "web", "otel", "demo")}),
        (
            "import pool_exporter.sidecar.server, pool_exporter.commands.serve",
            {"sqlalchemy", "opentelemetry", "asyncpg"},
        ),
    ],
    ids=["import", "instrumented", "in memory, libraries", "in memory, wings", "sidecar without a probe"],
)
def test_what_is_loaded(code: str, absent: set[str]) -> None:
    """An application loads nothing that it does not use, and a sidecar without a probe never loads SQLAlchemy."""
    assert set() == loaded(code) & absent


def test_a_report_loads_nothing() -> None:
    """A snapshot of a pool and its diagnosis need no further import: an exhausted application may be unable to read."""
    assert set() == loaded(IN_MEMORY) - loaded(INSTRUMENTED)


DATACLASSES = f"""{INSTRUMENTED}
from dataclasses import is_dataclass
own = [module for name, module in sys.modules.items() if name.startswith("pool_exporter.")]
kinds = [kind for module in own for kind in vars(module).values() if isinstance(kind, type) and is_dataclass(kind)]
print(*(f"dataclass:{{kind.__module__}}.{{kind.__name__}}" for kind in kinds))
"""
DATACLASSES_MAX = 13
"""`dataclasses` compiles six methods for each at the import, in 0.4 ms. A class is one if it is public or checks its
fields; other values are a NamedTuple, which takes a sixth of that."""


def test_few_dataclasses_are_made() -> None:
    """The import of what `instrument()` needs makes few dataclasses: it has a budget of time."""
    found = {name for name in loaded(DATACLASSES) if name.startswith("dataclass:pool_exporter.")}

    assert found
    assert len(found) <= DATACLASSES_MAX, sorted(found)
