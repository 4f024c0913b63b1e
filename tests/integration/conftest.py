"""What every test on a real server stands on."""

from collections.abc import Iterator

import pytest

from pool_exporter.hook_errors import errors


@pytest.fixture(name="_no_error_in_a_hook", autouse=True)
def _no_error_in_a_hook() -> Iterator[None]:
    """Fail the test in which a hook raised, though the application did not notice."""
    before = errors.count
    yield

    assert before == errors.count
