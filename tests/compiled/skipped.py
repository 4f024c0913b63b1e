"""Skips the tests that are marked as `pure` where the hot path is compiled.

Such a test replaces a function that compiled code calls without a look-up, or follows frames, which compiled code has
not. What it shows holds for both: the source is the same.
"""

from collections.abc import Iterable

import pytest

from pool_exporter import is_compiled


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Skip them, with the reason that the mark has."""
    for item in items:
        mark = item.get_closest_marker("pure")
        if is_compiled and mark is not None:
            item.add_marker(pytest.mark.skip(reason=f"needs the source: {mark.args[0]}"))
