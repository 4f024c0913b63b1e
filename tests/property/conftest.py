"""The garbage collector runs only when a machine calls it, so that a run is the same each time."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(name="_no_garbage_collection", scope="module", autouse=True)
def _no_garbage_collection() -> Iterator[None]:
    """Let the garbage collector run only when it is called, and ignore the objects that exist already."""
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
