"""Texts of the page and of `top`: what is not shown is counted."""

import pytest

from pool_exporter.web.status.texts import holder_facts
from pool_exporter.web.status.values import HolderGroup


@pytest.mark.parametrize(
    ("count", "pids", "expected"), [(9, 5, "1, 2, 3, 4, 5 and 4 more"), (5, 5, "1, 2, 3, 4, 5"), (9, 2, "1, 2")]
)
def test_server_pids(count: int, pids: int, expected: str) -> None:
    """Of many server processes some are named, and the others are counted; those that are unknown are not."""
    group = HolderGroup(count, 1.0, server_pids=tuple(range(1, pids + 1)))

    assert ("server pid", expected) in holder_facts(group)[-1]
