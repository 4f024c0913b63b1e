"""Time limits and second runs, in a pytest of their own: a folder with one file of tests, and what a run of it says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.deadlines import until
from tests.fixtures.processes import is_running
from tests.known_races import FILE, REPORT
from tests.second_run import NEEDED

ROOT = Path(__file__).parents[2]

FAILS_ONCE = """
import pathlib, pytest

@pytest.fixture(scope="session")
def server():
    runs = pathlib.Path("runs")
    runs.write_text(runs.read_text() + "." if runs.exists() else ".")
    return len(runs.read_text())

def test_it(server):
    assert 2 == server, "the first server is dead"

def test_other(server):
    assert server
"""

STARTS_AT_THE_SECOND_RUN = """
import pathlib, sys, pytest
from tests.fixtures.processes import running

@pytest.fixture(scope="module")
def server():
    ready, runs = pathlib.Path("ready").absolute(), pathlib.Path("runs")
    code = f"open('{ready}', 'w'); input()" if runs.exists() else "exit('the port is taken')"
    runs.touch()
    with running([sys.executable, "-c", code], pathlib.Path("log"), ready.exists):
        yield

def test_it(server):
    pass

def test_other(server):
    pass
"""

FAILS = """
def test_it():
    assert False, "as always"
"""

HANGS = """
import subprocess, threading, pytest

@pytest.mark.timeout(1)
def test_it():
    with open("pid", "w") as file:
        file.write(str(subprocess.Popen(["sleep", "600"]).pid))
    threading.Event().wait()

def test_other():
    pass
"""

HANGS_IN_TEARDOWN = """
import threading, pytest
from tests import time_limits
time_limits.GRACE_SECONDS = 1

@pytest.fixture
def server():
    yield
    threading.Event().wait()

@pytest.mark.timeout(1)
def test_it(server):
    assert False
"""


PLUGINS = ("xdist.plugin", "pytest_timeout", "tests.time_limits", "tests.second_run", "tests.left_processes")


def run(path: Path, code: str, folder: str, *options: str) -> tuple[int, str]:
    """Run *code* as the tests of a folder, with these plugins alone; return the exit code and what was printed."""
    file = path / folder / "test_sample.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(code)
    (path / "pytest.ini").write_text("[pytest]\n")
    plugins = " ".join(f"-p {plugin}" for plugin in PLUGINS)
    given = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": plugins}
    given["PYTEST_DEBUG_TEMPROOT"] = str(path)  # Else it closes to other users the folder of all tests of this one.
    command = [sys.executable, "-m", "pytest", "--import-mode=importlib", *options]
    done = subprocess.run(command, cwd=path, env=os.environ | given, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("workers", [[], ["-n1"]], ids=["alone", "xdist"])
def test_second_run_has_new_fixtures(tmp_path: Path, workers: list[str]) -> None:
    """A test that fails because a session's server is dead passes in a new process; its first failure is printed."""
    code, said = run(tmp_path, FAILS_ONCE, "tests/integration", "--second-run=any", *workers)

    assert (0, "..") == (code, (tmp_path / "runs").read_text())
    assert f"1 passed, 1 {NEEDED}" in said
    assert f"FAILED, then {NEEDED}: tests/integration/test_sample.py::test_it" in said
    assert "AssertionError: the first server is dead" in said


def test_race_passes_once(tmp_path: Path) -> None:
    """The run prints and writes the line to add to the list of known races; with that line the next run fails."""
    code, said = run(tmp_path, FAILS_ONCE, "tests/integration", "--second-run=any")
    [line] = (tmp_path / REPORT).read_text().splitlines()
    (tmp_path / "runs").unlink()
    (tmp_path / FILE).write_text(f"# known\n{line}\n")
    code_then, said_then = run(tmp_path, FAILS_ONCE, "tests/integration", "--second-run=any")

    assert line.endswith("tests/integration/test_sample.py::test_it AssertionError: the first server is dead")
    assert (0, True) == (code, line in said)
    assert (1, False) == (code_then, NEEDED in said_then)


@pytest.mark.parametrize("workers", [[], ["-n1"]], ids=["alone", "xdist"])
def test_program_may_start_at_the_second_run(tmp_path: Path, workers: list[str]) -> None:
    """Tests that failed because a server did not start pass when it starts in a new process; its output is printed."""
    code, said = run(tmp_path, STARTS_AT_THE_SECOND_RUN, "tests/integration", "--second-run=starts", *workers)

    assert 0 == code
    assert f"2 {NEEDED}" in said
    assert "the port is taken" in said
    assert not (tmp_path / REPORT).exists()


@pytest.mark.parametrize(
    ("sample", "folder", "options"),
    [
        (FAILS, "tests/integration", ["--second-run=any"]),
        (FAILS_ONCE, "tests/state", ["--second-run=any"]),
        (FAILS_ONCE, "tests/integration", ["--second-run=starts"]),
        (FAILS_ONCE, "tests/integration", ["--second-run=starts", "-n1"]),
        (FAILS_ONCE, "tests/integration", []),
    ],
    ids=["fails-again", "unit-test", "no-fault-of-a-start", "no-fault-of-a-start-xdist", "without-the-option"],
)
def test_failure_stays_one(tmp_path: Path, sample: str, folder: str, options: list[str]) -> None:
    """What fails twice has failed; so has a unit test, and one of which all programs ran, unless `any` is asked for."""
    code, said = run(tmp_path, sample, folder, *options)

    assert 1 == code
    assert NEEDED not in said
    assert "1 failed" in said


@pytest.mark.parametrize("workers", [[], ["-n1"]], ids=["alone", "xdist"])
def test_hanging_test_fails(tmp_path: Path, workers: list[str]) -> None:
    """A test that waits for ever fails at its limit, with the line where it waits; its process ends; the next runs."""
    code, said = run(tmp_path, HANGS, "tests/integration", *workers)

    assert 1 == code
    until(False, lambda: is_running(int((tmp_path / "pid").read_text())))
    assert "Timeout (>1.0s)" in said
    assert "threading.Event().wait()" in said
    assert "1 failed, 1 passed" in said


def test_hanging_teardown_ends_the_process(tmp_path: Path) -> None:
    """A teardown that waits for ever after a failure ends the process of pytest, with the line where it waits."""
    code, said = run(tmp_path, HANGS_IN_TEARDOWN, "tests/integration")

    assert 1 == code
    assert "Timeout (0:00:02)!" in said
    assert f'{tmp_path}/tests/integration/test_sample.py", line 9 in server' in said


def test_ended_process_is_one_failure(tmp_path: Path) -> None:
    """Under pytest-xdist, a process that ends so fails its test, and the tests after it run in another."""
    code, said = run(tmp_path, HANGS_IN_TEARDOWN + "def test_other(): pass\n", "tests/integration", "-n1")

    assert 1 == code
    assert "crashed while running 'tests/integration/test_sample.py::test_it'" in said
    assert "1 passed" in said
