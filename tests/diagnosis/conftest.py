"""From where the tests of diagnosis look."""

import pytest

from tests.diagnosis.loops import Look, look_from_thread, look_inside


@pytest.fixture(name="look")
def _look(request: pytest.FixtureRequest) -> Look:
    """Look at tasks from inside their event loop, or from another thread."""
    return {"inside": look_inside, "thread": look_from_thread}[request.param]
