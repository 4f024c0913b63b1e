"""The probe's arguments: what they accept and refuse, and that nothing is loaded without a probe."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from pool_exporter import probe
from pool_exporter.arguments import problems_of
from pool_exporter.environment import process_environ
from pool_exporter.errors import SettingsError

ROOT = Path(__file__).parents[2]


def parsed(*arguments: str) -> argparse.Namespace:
    """Parse a command line that has the probe's arguments."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    probe.add_arguments(parser)
    return parser.parse_args(arguments)


def servers(*arguments: str) -> list[tuple[str, ...]]:
    """Return the servers that are to be probed."""
    probes = probe.from_arguments(parsed(*arguments), process_environ())
    return [] if probes is None else [server.identity.values() for server in probes.servers()]


def test_without_a_url_there_is_no_probe() -> None:
    """Without the argument no server is probed, whatever database the environment names."""
    assert probe.from_arguments(parsed(), process_environ()) is None


def test_urls_may_be_many() -> None:
    """Each is a server."""
    expected = [("postgresql", "a", "5432"), ("mysql", "b", "3306")]

    assert expected == servers("--database-url", "postgresql://u@a/x", "--database-url", "mysql://u@b/x")


def test_url_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of processes shows the variable's name, not the password."""
    monkeypatch.setenv("MONITOR_URL", " postgresql://u:p@a/x\n")

    assert [("postgresql", "a", "5432")] == servers("--database-url", "env:MONITOR_URL")


def test_url_from_a_file(tmp_path: Path) -> None:
    """A mounted secret is a file that ends with a newline."""
    (tmp_path / "url").write_text("postgresql://u:p@a/x\n")

    assert [("postgresql", "a", "5432")] == servers("--database-url", f"file:{tmp_path}/url")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("env:NO_SUCH_VARIABLE", "needs the environment variable NO_SUCH_VARIABLE, which is not set"),
        ("file:/no/such/file", "cannot be read: No such file or directory"),
        ("file:/", "cannot be read: Is a directory"),
        ("", "must be a database URL"),
    ],
)
def test_url_that_is_not_there(given: str, expected: str) -> None:
    """It is one clear error."""
    with pytest.raises(SettingsError, match=expected):
        servers("--database-url", given)


def test_all_urls_that_are_not_there_are_named() -> None:
    """One error has each of them, and each that is wrong; variables are those of the environment that is passed in."""
    urls = ("env:A", "file:/no/such/file", "env:B", "oracle://u@b/x", "mysql://u@b/x", "mysql://v@b/x")
    given = parsed(*(argument for url in urls for argument in ("--database-url", url)))
    with pytest.raises(SettingsError) as caught:
        probe.from_arguments(given, {"B": "postgresql://u@b/x"})

    assert ["env:A", "file:/no/such/file", "oracle://u@b/x", "mysql://v@b/x"] == [
        problem.value for problem in caught.value.problems
    ]


def test_file_that_is_no_text(tmp_path: Path) -> None:
    """It is one clear error, too, without a byte of the file in it."""
    (tmp_path / "url").write_bytes(b"geheim\xff")
    with pytest.raises(SettingsError, match="it is not UTF-8 text") as caught:
        servers("--database-url", f"file:{tmp_path}/url")

    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon", "0.09"])
@pytest.mark.parametrize("argument", ["--database-interval", "--database-timeout"])
def test_seconds_are_seconds(argument: str, text: str) -> None:
    """Neither is nothing, nor for ever."""
    wanted = "must be seconds, at least 0.1, or a time such as 500ms, 90s or 5m"

    assert [f"{argument}={text!r}: {wanted}"] == list(map(str, problems_of(parsed(argument, text))))


def test_nothing_is_loaded_unasked() -> None:
    """A sidecar without a probe loads neither SQLAlchemy nor a driver for having the arguments.

    The package around it is left out here: what `import pool_exporter` itself loads is its own tests' matter.
    """
    code = """
import sys, types, argparse
sys.modules["pool_exporter"] = package = types.ModuleType("pool_exporter")
package.__path__ = ["pool_exporter"]
from pool_exporter import probe
parser = argparse.ArgumentParser(); probe.add_arguments(parser); probe.from_arguments(parser.parse_args([]), {})
print(sorted({"sqlalchemy", "asyncpg", "psycopg", "aiomysql", "pydantic", "asyncio"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()
