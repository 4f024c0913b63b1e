"""Each exception to a rule of the linter or the type checker names the rule and says why; and `Any` stays rare."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = {
    str(path.relative_to(ROOT)): path
    for folder in ("pool_exporter", "tests", "grafana")
    for path in (ROOT / folder).rglob("*.py")
}

ANY_MAX = 39
"""Occurrences of the word in the package, imports included."""

_EXCEPTION = re.compile(r"# *(?:type: *ignore|noqa)")
_WITH_REASON = re.compile(r"# (?:type: ignore\[[a-z, -]+\]|noqa: [A-Z]+\d+(?:, [A-Z]+\d+)*)  # \S")


def without_reason(source: str) -> Iterator[str]:
    """Yield each comment of *source* that makes an exception without a code, or without a reason after it."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and _EXCEPTION.search(token.string) and not _WITH_REASON.match(token.string):
            yield f"line {token.start[0]}: {token.string}"


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_exception_has_a_reason(name: str) -> None:
    """A comment such as `# type: ignore[misc]  # it has no types` names the rule and says why it does not hold here."""
    assert [] == list(without_reason(FILES[name].read_text()))


@pytest.mark.parametrize(
    "comment",
    [
        "# type: ignore",
        "# type: ignore[misc]",
        "# type: ignore  # it has no types",
        "# noqa",
        "# noqa: S301",
        "# noqa: S301 -- it is safe",
        "# it is safe  # noqa: S301",
    ],
)
def test_exception_without_a_reason_is_found(comment: str) -> None:
    """A rule that is not named, and a reason that is missing or in another place, are findings."""
    assert [f"line 1: {comment}"] == list(without_reason(f"x = 1  {comment}\n"))


def test_any_is_rare() -> None:
    """A value of any type is one that the type checker does not check: a Protocol says what is needed of it."""
    sources = (path.read_text() for name, path in FILES.items() if name.startswith("pool_exporter"))

    assert sum(len(re.findall(r"\bAny\b", source)) for source in sources) <= ANY_MAX
