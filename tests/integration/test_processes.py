"""Processes that tests start end with all that they have started, and a failed test leaves none."""

import os
import re
import sys
from pathlib import Path

import pytest

from tests.fixtures.deadlines import until
from tests.fixtures.processes import Process, free_port, is_running, kill_started_by, started_by

pytest_plugins = ["pytester"]

FAMILY = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(child.pid, flush=True)
child.wait()
"""
"""A process that has a child, and prints its id."""

FAILS = """
import subprocess, sys

def test_fails():
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    print(f"pid={child.pid}")
    assert False
"""


@pytest.mark.parametrize("how", ["end", "kill"])
def test_process_ends_with_its_children(tmp_path: Path, how: str) -> None:
    """The child of a program ends with the program, which does not end it itself."""
    log = tmp_path / "log"
    process = Process([sys.executable, "-c", FAMILY], log)
    process.wait_until(lambda: log.read_text().endswith("\n"))
    child = int(log.read_text())
    assert is_running(child)

    getattr(process, how)()

    assert not process.is_running
    until(False, lambda: is_running(child))


def test_failed_test_leaves_no_process(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that a failed test has not ended is killed after it."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=os.pathsep)
    (pytester.path / "conftest.py").write_text((Path(__file__).parents[1] / "conftest.py").read_text())
    pytester.makepyfile(FAILS)

    result = pytester.runpytest_subprocess("-p", "no:cloudcoil", "-p", "no:cacheprovider")
    pid = int(re.findall(r"^pid=(\d+)$", result.stdout.str(), re.MULTILINE)[0])

    result.assert_outcomes(failed=1)
    until(False, lambda: is_running(pid))


def test_processes_of_another_test_are_left_alone() -> None:
    """Only the processes of the named test are found."""
    assert [] == list(started_by("tests/test_of_no_name.py::test_none (call)"))
    assert [] == kill_started_by("tests/test_of_no_name.py::test_none (call)")


def test_ports_differ() -> None:
    """Ports that are drawn one after another are hardly ever the same, and no connection is given one by the system."""
    ports = [free_port() for _ in range(20)]
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    assert len(set(ports)) > 15
    assert max(ports) < first_ephemeral
