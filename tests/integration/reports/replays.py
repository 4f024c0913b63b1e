"""The decorator that ties a test to its row of the table."""

from collections.abc import Callable
from typing import Final, TypeVar

import pytest

from tests.integration.reports.diagnoses import DIAGNOSIS_ROWS
from tests.integration.reports.engines import ENGINE_ROWS
from tests.integration.reports.exporters import EXPORTER_ROWS

F = TypeVar("F", bound=Callable[..., object])

ROWS: Final = {row.id: row for row in (*ENGINE_ROWS, *EXPORTER_ROWS, *DIAGNOSIS_ROWS)}


def replay(number: str, *, is_right: bool = False) -> Callable[[F], F]:
    """Return what marks a test of a row: `make reports` runs it, and it must fail until the row is right.

    Args:
        number: The row's id, such as A1.
        is_right: Whether the test holds although the row as a whole is not yet right.
    """
    row = ROWS[number]

    def mark(test: F) -> F:
        marked: F = pytest.mark.reports(test)
        if row.not_yet and not is_right:
            marked = pytest.mark.xfail(reason=row.not_yet, strict=True, raises=AssertionError)(marked)
        return marked

    return mark
