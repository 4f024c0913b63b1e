"""A byte that is 1 in the process that made it and 0 in its children, until they take it over."""

import ctypes
import os
from collections.abc import Callable

import pytest

from pool_exporter.runtime.fork_detection import ForkSentinel


def in_child(fork: Callable[[], int], act: Callable[[], bool]) -> bool:
    """Do something in a child, and return what came of it."""
    pid = fork()
    if not pid:
        os._exit(act())
    return bool(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


@pytest.mark.parametrize("fork", [os.fork, ctypes.PyDLL(None).fork], ids=["os.fork", "fork-in-C"])
def test_child_is_told(fork: Callable[[], int]) -> None:
    """However a child was forked, it can tell, and take the byte over; its parent's stays as it is."""
    mark = ForkSentinel()

    def renewed() -> bool:
        mark.renew()
        return mark.is_original_process

    assert (True, 1) == (mark.is_original_process, mark.byte[0])
    assert not in_child(fork, lambda: mark.is_original_process)
    assert in_child(fork, renewed)
    assert mark.is_original_process
