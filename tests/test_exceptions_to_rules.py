"""Rules that no linter knows: an exception says why, `Any` stays rare, and no unit test sleeps."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.time_limits import REAL_PROCESSES, UNLIMITED

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


MAY_SLEEP = (*REAL_PROCESSES, *UNLIMITED, "tests/bench/", "tests/conformance/", "tests/pictures/")
"""Where programs and servers run for as long as they do."""
WAITS = {"tests/fixtures/deadlines.py", "tests/fixtures/processes.py"}
"""What observes programs and servers, and pauses in between."""


def sleeps(source: str) -> Iterator[str]:
    """Yield each call of a `sleep` in *source*, but `sleep(0)`, which lets others run and waits for no time."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "sleep":
            text = ast.unparse(node)
            if not text.endswith("sleep(0)"):
                yield f"line {node.lineno}: {text}"


@pytest.mark.parametrize("folder", sorted({name.partition("/")[0] for name in FILES}))
def test_every_exception_has_a_reason(folder: str) -> None:
    """A comment such as `# type: ignore[misc]  # it has no types` names the rule and says why it does not hold here."""
    names = [name for name in sorted(FILES) if name.startswith(f"{folder}/")]

    assert [] == [f"{name}: {found}" for name in names for found in without_reason(FILES[name].read_text())]


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


def test_no_unit_test_sleeps() -> None:
    """A unit test waits for an event, or moves a clock: it takes no time, and no machine is too slow for it."""
    units = [name for name in sorted(FILES) if name.startswith("tests/") and not name.startswith(MAY_SLEEP)]

    assert [] == [
        f"{name}: {found}" for name in units if name not in WAITS for found in sleeps(FILES[name].read_text())
    ]


@pytest.mark.parametrize("call", ["time.sleep(0.01)", "asyncio.sleep(60)", "sleep(seconds)", "asyncio.sleep(0.0)"])
def test_sleep_is_found(call: str) -> None:
    """A sleep of any length is found, also one of another name for nothing."""
    assert [f"line 1: {call}"] == list(sleeps(f"async def wait(): await {call}"))


@pytest.mark.parametrize("call", ["time.sleep(0)", "asyncio.sleep(0)", "sleeps(1)", "self.sleep_for(1)"])
def test_what_does_not_sleep_is_not_found(call: str) -> None:
    """A turn of the loop is no sleep, nor is a function with a similar name."""
    assert [] == list(sleeps(f"async def wait(): await {call}"))
