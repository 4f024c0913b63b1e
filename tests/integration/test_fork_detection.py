"""A byte that is 1 in the process that made it and 0 in its children, until they renew it."""

import ctypes
import os
from collections.abc import Callable

import pytest

from pool_exporter.runtime.forks.fork_detection import ForkSentinel


def in_child(fork: Callable[[], int], act: Callable[[], bool]) -> bool:
    """Return what *act* returns in a child."""
    pid = fork()
    if not pid:
        os._exit(act())
    return bool(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


@pytest.mark.parametrize("fork", [os.fork, ctypes.PyDLL(None).fork], ids=["os.fork", "fork-in-C"])
def test_child_sees_that_it_was_forked(fork: Callable[[], int]) -> None:
    """However a child was forked, its byte is 0 until it renews it; its parent's stays 1."""
    sentinel = ForkSentinel()

    def renewed() -> bool:
        sentinel.renew()
        return sentinel.is_original_process

    assert (True, 1) == (sentinel.is_original_process, sentinel.byte[0])
    assert not in_child(fork, lambda: sentinel.is_original_process)
    assert in_child(fork, renewed)
    assert sentinel.is_original_process
