"""The specification of pool_exporter, and what measures it."""

import pytest

# These modules assert on behalf of tests; pytest rewrites their asserts so that a failure shows the values.
pytest.register_assert_rewrite(
    "tests.fixtures.deadlines", "tests.integration.sampler", "tests.integration.instrumented"
)
