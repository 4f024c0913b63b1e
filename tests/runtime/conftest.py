"""After a test with a second registry, the methods of SQLAlchemy are as the registry of the process needs them."""

from collections.abc import Iterator

import pytest

from pool_exporter.runtime.registry import registry


@pytest.fixture(autouse=True)
def _methods_as_the_own_registry_needs_them() -> Iterator[None]:
    """Put SQLAlchemy's methods back after a test with a second registry, unless a pool of the first is instrumented."""
    yield
    with registry.changing():
        pass  # On leaving, it ends what no pool needs.
