"""Forked children and processes on the same port are found by what Linux says of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from pool_exporter.web.notices import processes

PROGRAM = """
import os, signal, socket, subprocess, sys
from pool_exporter.web.notices import processes

def forked():
    child = os.fork()
    if child == 0:
        signal.pause()
    return child

def answer_of_child():
    end, other_end = os.pipe()
    if os.fork() == 0:
        os.write(other_end, repr(processes.sharing_a_port()).encode())
        os._exit(0)
    os.wait()
    return os.read(end, 1000).decode()

started = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
connection = SOCKET
child = forked()
found = answer_of_child().replace(str(child), "child")
print([child] == processes.forked_children(), found, processes.sharing_a_port())
os.kill(child, signal.SIGKILL)
started.communicate(b"")
"""

LISTS_CHILDREN = pytest.mark.skipif(
    not Path("/proc/thread-self/children").exists(), reason="needs a Linux that lists the children of a process"
)


def found_with(connection: str) -> str:
    """Return what a program finds that has a socket, and then a forked child and one that it has started."""
    code = PROGRAM.replace("SOCKET", connection)
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@LISTS_CHILDREN
def test_forked_child_on_the_same_port() -> None:
    """A forked child is found, and another program is not; a sibling finds the child that accepts on its port."""
    assert "True [child] []\n" == found_with("socket.create_server(('127.0.0.1', 0))")


@LISTS_CHILDREN
def test_shared_socket_without_a_port() -> None:
    """A socket on which nothing listens is no port."""
    assert "True [] []\n" == found_with("socket.socket()")


def test_nothing_is_found_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without /proc, there are no children and no siblings, and no error."""
    monkeypatch.setattr(processes, "_PROC", tmp_path)

    assert ([], []) == (processes.forked_children(), processes.sharing_a_port())
