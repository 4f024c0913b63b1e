"""On which event loop the tests of diagnosis run, and from where they look."""

import pytest

from tests.diagnosis.loops import Look, look_from_thread, look_inside, require


@pytest.fixture(name="look")
def _look(request: pytest.FixtureRequest) -> Look:
    """Look at tasks from inside their event loop, or from another thread."""
    return {"inside": look_inside, "thread": look_from_thread}[request.param]


@pytest.fixture(name="loop")
def _loop(request: pytest.FixtureRequest) -> str:
    """Run on an event loop of that kind, if it is installed."""
    require(request.param)
    return str(request.param)
