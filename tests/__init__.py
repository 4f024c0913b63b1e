"""The specification of pool_exporter, and what measures it."""

import pytest

# These assert on behalf of tests; what they saw shall be told as a test's own assert tells it.
pytest.register_assert_rewrite("tests.fixtures.deadlines", "tests.integration.sampler", "tests.integration.watched")
