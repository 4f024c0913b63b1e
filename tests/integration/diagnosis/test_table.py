"""No verdict is without a test on a real pool, by each way on which it can be found, and of what is to be done."""

from pool_exporter.diagnosis.texts.cures import CURES
from tests.integration.diagnosis.cells import CANNOT_OCCUR, CELLS, cells_with_tests, marked


def test_each_cell_has_a_test_or_a_reason() -> None:
    """Each verdict, by each way, has a test, or it is written why it cannot occur; never both."""
    tests = cells_with_tests()

    assert [] == [cell for cell in CELLS if cell not in tests and cell not in CANNOT_OCCUR]
    assert [] == [cell for cell in CANNOT_OCCUR if cell in tests]
    assert {*CELLS} == {*tests, *CANNOT_OCCUR}


def test_each_cure_follows_the_text() -> None:
    """What a test does against a verdict is what the report says to do, in its words."""
    followed = {(cell, test): follows for cell, test, follows in marked() if cell[1].endswith("cure")}

    assert [] == [key for key, follows in followed.items() if not follows or follows not in CURES[key[0][0]].cure]
