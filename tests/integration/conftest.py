"""Fixtures of all tests on real servers."""

from collections.abc import Iterator

import pytest

from pool_exporter.hook_errors import errors


@pytest.fixture(name="_no_error_in_a_hook", autouse=True)
def _no_error_in_a_hook() -> Iterator[None]:
    """Fail a test in which a hook raised, although the application did not notice."""
    before = errors.count
    yield

    assert before == errors.count
