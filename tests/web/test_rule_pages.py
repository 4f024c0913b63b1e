"""The rules of `check` over HTTP: each as text and as a page, the same as in the documentation."""

import re
from pathlib import Path

import pytest

from pool_exporter.advice.checks.rules import RULES
from pool_exporter.web.page import rule_pages
from pool_exporter.web.responses import takes_snapshot
from tests.web.test_runbooks import BROWSER, ask

FILES = Path(__file__).parents[2] / "docs" / "checks"
IDS = [rule.id for rule in RULES]


@pytest.mark.parametrize("rule", IDS)
def test_each_rule_is_there(rule: str) -> None:
    """By its id, and by its file's name, each rule is the text of its page in the documentation."""
    generated = " Written by `python -m tests.docs`; not to be edited."
    expected = (FILES / f"{rule}.md").read_text().replace(generated, "").encode()

    assert [expected, expected] == [ask(f"{rule_pages.PREFIX}{rule}{end}").body for end in ("", ".md")]


@pytest.mark.parametrize("rule", IDS)
def test_page_for_browsers(rule: str) -> None:
    """The page has no mark of Markdown that was overlooked."""
    page = ask(f"{rule_pages.PREFIX}{rule}", BROWSER).body.decode()
    plain = re.sub(r"<[^>]+>", "", re.sub(r"<(pre|code|style)>.*?</\1>", "", page, flags=re.DOTALL))

    assert ["Why.", "Fix.", "Not found for.", "Source."] == re.findall(r"<strong>(.+?)</strong>", page)
    assert not re.search(r"`|\*\*|\]\(|(^|\n)#", plain)


def test_index_lists_all() -> None:
    """The prefix itself is a list with a link to each of them."""
    assert IDS == re.findall(r'<a href="(\w+)">\1</a>', ask(rule_pages.PREFIX, BROWSER).body.decode())


@pytest.mark.parametrize("path", ["/-/checks", "/-/checks/P00", "/-/checks/../index", "/-/checks/.md", "/-/checks/p13"])
def test_nothing_else_is_there(path: str) -> None:
    """Another path is not found."""
    assert 404 == ask(path).status


def test_no_snapshot_is_taken() -> None:
    """The answer needs no pool."""
    assert not takes_snapshot("/-/checks/P13")
