"""The settings in the environment: what is read, and what is wrong."""

import ast
import logging
from pathlib import Path

import pytest

import pool_exporter
from pool_exporter.environment import Environment
from pool_exporter.errors import SettingsError

LINKS = {
    "POOL_EXPORTER_SERVICE_HOST": "10.0.0.7",
    "POOL_EXPORTER_SERVICE_PORT": "10042",
    "POOL_EXPORTER_PORT": "tcp://10.0.0.7:10042",
    "POOL_EXPORTER_PORT_10042_TCP_ADDR": "10.0.0.7",
    "POOL_EXPORTER_X_SERVICE_HOST": "10.0.0.8",
    "POOL_EXPORTER_X_PORT": "tcp://10.0.0.8:10042",
}
"""What Kubernetes puts into each pod for Services that are named pool-exporter and pool-exporter-x."""


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Environment()),
        ({"HOME": "/root", "POOL_EXPORTER_DIR": " /run/pools "}, Environment(Path("/run/pools"))),
        ({"POOL_EXPORTER_DIR": "", "OTEL_SERVICE_NAME": "  ", "POOL_EXPORTER_TRACE_WAITS": " "}, Environment()),
        ({"OTEL_SERVICE_NAME": "shop"}, Environment(service="shop")),
        ({"OTEL_SERVICE_NAME": "shop", "POOL_EXPORTER_SERVICE": "orders"}, Environment(service="orders")),
        ({"POOL_EXPORTER_TRACE_WAITS": "0"}, Environment(trace_waits=0.0)),
        ({"POOL_EXPORTER_PLACES": "armed"}, Environment(places="armed")),
        ({"POOL_EXPORTER_SKIP_MODULES": " a.db, b,"}, Environment(skip_modules=("a.db", "b"))),
        ({"POOL_EXPORTER_SILENCE": "P04, p22,"}, Environment(silenced=("P04", "P22"))),
        ({"POOL_EXPORTER_SQL": "on"}, Environment(shows_sql=True)),
        ({"POOL_EXPORTER_FILE_MODE": "0600"}, Environment(file_mode=0o600)),
        ({"POOL_EXPORTER_FILE_MODE": "0o644"}, Environment(file_mode=0o644)),
        ({"POOL_EXPORTER_FILE_MODE": ""}, Environment(file_mode=0o640)),
        ({"POOL_EXPORTER_TRACE_WAITS": "2.5e-1"}, Environment(trace_waits=0.25)),
        ({"POOL_EXPORTER_DIRR": ""}, Environment()),
        ({"PGCONNECT_TIMEOUT": "5", "PGHOST": "db"}, Environment(libpq=("PGCONNECT_TIMEOUT",))),
        ({"PGCONNECT_TIMEOUT": "5", "PGAPPNAME": ""}, Environment(libpq=("PGCONNECT_TIMEOUT",))),
        ({"OTEL_METRICS_EXEMPLAR_FILTER": " always_on "}, Environment(exemplar_filter="always_on")),
        (
            {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": " ", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel:4318"},
            Environment(otlp_asked_by="OTEL_EXPORTER_OTLP_ENDPOINT"),
        ),
        ({"PROMETHEUS_MULTIPROC_DIR": "/run/metrics"}, Environment(has_prometheus_directory=True)),
        (LINKS, Environment()),
    ],
)
def test_read(environ: dict[str, str], expected: Environment) -> None:
    """Values lose the blanks around them, empty ones are unset, and other programs' variables are ignored."""
    assert expected == Environment.strict(environ) == Environment.lenient(environ)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("POOL_EXPORTER_PLACES", "on", "POOL_EXPORTER_PLACES='on': must be always, armed or off"),
        *(
            ("POOL_EXPORTER_FILE_MODE", mode, f"POOL_EXPORTER_FILE_MODE='{mode}': must be octal permissions")
            for mode in ("640x", "0400", "0755", "-0640", "0o7777", "999")
        ),
        ("POOL_EXPORTER_SILENCE", "P04,P4", "POOL_EXPORTER_SILENCE='P4': must be ids of rules of `check`, such as P04"),
        ("POOL_EXPORTER_SQL", "yes", "POOL_EXPORTER_SQL='yes': must be off or on"),
        ("POOL_EXPORTER_TRACE_WAITS", "soon", "POOL_EXPORTER_TRACE_WAITS='soon': must be seconds, at least 0"),
        ("POOL_EXPORTER_TRACE_WAITS", "-1", "POOL_EXPORTER_TRACE_WAITS='-1': must be seconds, at least 0"),
        ("POOL_EXPORTER_TRACE_WAITS", "nan", "POOL_EXPORTER_TRACE_WAITS='nan': must be seconds, at least 0"),
        ("POOL_EXPORTER_TRACE_WAITS", "inf", "POOL_EXPORTER_TRACE_WAITS='inf': must be seconds, at least 0"),
        ("POOL_EXPORTER_SERVISE", "x", "POOL_EXPORTER_SERVISE: is not a setting of .*; did you mean .*_SERVICE[?]"),
        ("pool_exporter_dir", "x", "pool_exporter_dir: is not a setting of .*; did you mean POOL_EXPORTER_DIR[?]"),
        ("POOL_EXPORTER_SERVICES_HOST", "x", "POOL_EXPORTER_SERVICES_HOST: is not a setting"),
        (
            "POOL_EXPORTER_Z",
            "x",
            "its settings are POOL_EXPORTER_DIR, POOL_EXPORTER_SERVICE, POOL_EXPORTER_TRACE_WAITS",
        ),
    ],
)
def test_wrong(key: str, value: str, message: str) -> None:
    """A wrong value and an unknown variable are errors that say what is allowed."""
    with pytest.raises(SettingsError, match=message):
        Environment.strict({key: value})


def test_all_that_is_wrong_is_one_error() -> None:
    """The error has every wrong variable, also beside the variables that Kubernetes adds."""
    environ = {**LINKS, "POOL_EXPORTER_DIRR": "/x", "POOL_EXPORTER_TRACE_WAITS": "soon"}
    with pytest.raises(SettingsError) as raised:
        Environment.strict(environ)

    assert ["POOL_EXPORTER_DIRR", "POOL_EXPORTER_TRACE_WAITS"] == [each.key for each in raised.value.problems]


def test_lenient(caplog: pytest.LogCaptureFixture) -> None:
    """What is wrong is one line of level ERROR with every variable, once; what is right is used."""
    environ = {"POOL_EXPORTER_DIR": "/x", "POOL_EXPORTER_SERVIC": "y", "POOL_EXPORTER_TRACE_WAITS": "once"}
    found = [Environment.lenient(environ), Environment.lenient(environ)]
    ((logger, level, line),) = caplog.record_tuples

    assert [Environment(Path("/x"))] * 2 == found
    assert ("pool_exporter", logging.ERROR, 1) == (logger, level, len(line.splitlines()))
    assert "POOL_EXPORTER_SERVIC: is not a setting of pool_exporter; did you mean POOL_EXPORTER_SERVICE?" in line
    assert "POOL_EXPORTER_TRACE_WAITS='once': must be seconds, at least 0" in line


OWN = "pool_exporter.environment"
READERS = {
    *("os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv"),
    *("os.path.expandvars", "posix.environ"),
}
"""What reads or writes the environment of the process."""
BEGINNINGS = {
    *("instrumentor.py", "runtime/all_pools.py", "runtime/checking/check.py", "runtime/instrumentation.py"),
    *("web/asgi_app.py", "web/wsgi_app.py", "web/thread_server.py", "web/prometheus_collector.py"),
}
"""The modules of public functions: where the work in an application begins. They pass on what they read."""


def names_used(source: str) -> set[str]:
    """Return the full name of what *source* imports from a module, and of each attribute of what it has imported."""
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    full = {each.asname or each.name: f"{node.module}.{each.name}" for node in imports for each in node.names}
    plain = [each for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names]
    full |= {
        each.asname or each.name.partition(".")[0]: each.name for each in plain if each.asname or "." not in each.name
    }
    attributes = [ast.unparse(node).split(".", 1) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    return {*full.values(), *(f"{full.get(first, first)}.{rest}" for first, rest in attributes)}


def modules_with(names: set[str]) -> set[str]:
    """Return which modules of the package use one of *names*."""
    package = Path(pool_exporter.__file__).parent
    texts = {path.relative_to(package).as_posix(): path.read_text() for path in package.rglob("*.py")}
    return {name for name, text in texts.items() if names & names_used(text)}


@pytest.mark.parametrize(
    "source",
    [
        *("import os\nos.environ['X']", "import os as o\no.getenv('X')", "from os import environ as e"),
        *("import posix\nposix.environ", "def f():\n    from os.path import expandvars", "import os.path\nos.environ"),
    ],
)
def test_reading_is_found(source: str) -> None:
    """However a module reads the environment, the tests below see it."""
    assert READERS & names_used(source)


def test_only_one_module_reads_the_environment() -> None:
    """No other module looks into the environment of the process; the command line has the mapping, and passes it on."""
    assert {"environment.py"} == modules_with(READERS)
    assert {"cli.py"} == modules_with({f"{OWN}.process_environ"})


def test_the_environment_is_read_where_the_work_begins() -> None:
    """Public functions read the settings; every other module is given their values, or a mapping as commands are."""
    assert BEGINNINGS == modules_with({f"{OWN}.Environment.lenient"})
    assert {"compiled/__init__.py"} == modules_with({f"{OWN}.is_pure"})


def test_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a mapping the variables of this process are read."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")

    assert "shop" == Environment.lenient().service
