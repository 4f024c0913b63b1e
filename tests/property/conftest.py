"""What the machines stand on: garbage is collected when they say so, so that a run is the same each time."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(name="_no_garbage_collection", scope="module", autouse=True)
def _no_garbage_collection() -> Iterator[None]:
    """Have the garbage collector run only when it is told to, and let it not look at what is there already."""
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
