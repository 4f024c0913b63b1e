"""Imports inside functions: only those that are listed here, each with the reason why it may be there.

A child that is forked while another thread imports a module waits for that import for ever. So nothing is imported on
the paths that an application enters without a call of this package: hooks, heartbeats, finalizers, the restart after a
fork, and the end of the process. tests/integration/test_late_imports.py runs them.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pool_exporter"

COMMAND = "a command's own process, which has no pool of an application"
SETUP = "the application calls it to set something up, and waits for it as for an import of its own"
SHOWN = "whatever calls it has loaded that module at its top, to show what it returns"
READER = "it is called when a server or a collector is made, before it answers"

ALLOWED: Mapping[str, str] = {
    "celery_units.install": SETUP,
    "cli._complete": COMMAND,
    "commands.check._answers": COMMAND,
    "commands.check._check_directory": COMMAND,
    "commands.checks.engine_target.findings": COMMAND,
    "commands.checks.engine_target._loaded": COMMAND,
    "commands.checks.servers.servers_by_pool": COMMAND,
    "commands.checks.servers._read": COMMAND,
    "commands.demo.prepare": COMMAND,
    "commands.diagnose.reports": COMMAND,
    "commands.loads.two_looks.look_at_page": COMMAND,
    "commands.serve.prepare": COMMAND,
    "commands.top.prepare": COMMAND,
    "commands.top._print_json": COMMAND,
    "commands.top._print_once": COMMAND,
    "commands.top._show": COMMAND,
    "database_url.parse_url": COMMAND,
    "demo.database_settings.engine_arguments": COMMAND,
    "demo.database_settings._sqlite_pool": COMMAND,
    "demo.telemetry.pushed": COMMAND,
    "environment._suggestion": SETUP,
    "otel.meter_provider_bridge._connect": SETUP,
    "otel.other_instrumentation._tracer": SETUP,
    "otel.otlp_options.create_push": COMMAND,
    "otel.otlp_options.push_target": COMMAND,
    "otel.otlp_options._exporter_class": COMMAND,
    "otel.otlp_options._resource": COMMAND,
    "probe.options.from_arguments": COMMAND,
    "probe.options.targets_from_arguments": COMMAND,
    "probe.server_connection._to_console": COMMAND,
    "runtime.all_pools.instrument_all": SETUP,
    "runtime.argument_checks._import_opentelemetry": SETUP,
    "runtime.instrumentation.instrument": SETUP,
    "runtime.instrumentation.prepare": SETUP,
    "runtime.instrumentation.snapshot": SHOWN,
    "runtime.pool_monitor.trace_waits": SETUP,
    "runtime.files.directory_access.readers": SETUP,
    "runtime.files.directory_access.writer": SETUP,
    "runtime.files.process_file._prepare_holders": SETUP,
    "sidecar.server._knowledge": COMMAND,
    "sidecar.server._reports": COMMAND,
    "sidecar.webconfig.basic_auth._is_hash_of": COMMAND,
    "sidecar.webconfig.strict_yaml._parsed": COMMAND,
    "web.thread_server._note_server": READER,
    "web.status.own_process.own_knowledge": READER,
    "web.status.own_process.own_reports": READER,
    "web.status.own_process.own_source": READER,
}


def importing_functions(tree: ast.AST, inside: str = "") -> Iterator[str]:
    """Yield the name of each function with an import statement or a call of `import_module`, once for each of them."""
    for node in ast.iter_child_nodes(tree):
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        name = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else inside
        called = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
        if inside and (isinstance(node, ast.Import | ast.ImportFrom) or called in ("import_module", "__import__")):
            yield inside
        yield from importing_functions(node, name if is_function else inside)


def found() -> set[str]:
    """Return all such functions of the package, by their module."""
    return {
        f"{'.'.join(path.relative_to(PACKAGE).with_suffix('').parts)}.{name}"
        for path in PACKAGE.rglob("*.py")
        for name in importing_functions(ast.parse(path.read_text()))
    }


def test_every_import_inside_a_function_has_a_reason() -> None:
    """A new one is listed with its reason, or stands at the top of its module."""
    assert set(ALLOWED) == found()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a\nclass B:\n    from c import d", []),
        ("def f():\n    from c import d", ["f"]),
        ("class B:\n    async def f(self):\n        if True:\n            import a, b", ["f"]),
        ("def f():\n    return importlib.import_module('a')", ["f"]),
        ("def f():\n    def g():\n        __import__('a')", ["g"]),
    ],
)
def test_imports_are_found(source: str, expected: list[str]) -> None:
    """In functions and methods, as statements and as calls; not in modules and classes, which run when imported."""
    assert expected == list(importing_functions(ast.parse(source)))
