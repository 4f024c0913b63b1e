"""A text that no output could encode is made encodable, in one way everywhere."""

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import pool_exporter
from pool_exporter.encodable import encodable

PACKAGE = Path(pool_exporter.__file__).parent
WRITTEN_OUT = re.compile(r"""\.encode\("utf-8", "replace"\)\.decode\(""")


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_can_be_encoded(text: str) -> None:
    """Each half of a surrogate pair becomes one character; nothing else changes."""
    expected = "".join("?" if "\ud800" <= each <= "\udfff" else each for each in text)

    assert expected == encodable(text)
    assert encodable(text).encode().decode() == expected


def test_ascii_stays_the_object() -> None:
    """Most texts are ASCII, and shared by all pools: they are not copied."""
    text = "orders"

    assert text is encodable(text)


def test_it_is_done_in_one_place() -> None:
    """No other module has the expression."""
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if WRITTEN_OUT.search(path.read_text())}

    assert {"encodable.py"} == found
