"""The landing page shows the pools, leads to the metrics from wherever it is, and lets nothing in a name be HTML."""

from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.web.page import render
from tests.golden import FRESH, ORDERS, SNAPSHOT

VOID = {"meta"}


class Page(HTMLParser):
    """A page as its elements: every tag has to be closed in its order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

        assert [] == self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag: str) -> None:
        """Check that it closes what was opened last."""
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        """Note the text, and the cell that it is of."""
        self.texts.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)

    def attributes(self, name: str) -> list[str | None]:
        """Return all values of an attribute."""
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def page_of(**changes: Any) -> Page:
    """Return the page of the pool `orders` with changes."""
    return Page(render(Snapshot((replace(ORDERS, **changes),))))


def test_pools_are_a_table() -> None:
    """Each pool has a row with what it has used, idle, at most and pending."""
    assert [
        ["Pool", "Used", "Idle", "Max", "Pending"],
        ['a\\b "c"\nd é\U0001f418', "0", "0", "no limit", "0"],
        ["orders", "7", "3", "15", "2"],
    ] == Page(render(SNAPSHOT)).rows


def test_without_a_pool_it_says_what_to_do() -> None:
    """An empty table would leave one wondering."""
    page = Page(render(Snapshot()))

    assert [] == page.rows
    assert "pool_exporter.instrument(engine)" in "".join(page.texts)


def test_version_is_shown() -> None:
    """One sees what is running."""
    assert "1.2.3" in Page(render(SNAPSHOT)).texts


def test_links_lead_on_under_any_prefix() -> None:
    """The links are relative: an app mounted at /pools/ has its metrics at /pools/metrics."""
    assert ["metrics", "-/healthy", "-/ready"] == Page(render(SNAPSHOT)).attributes("href")


def test_nothing_is_loaded_or_run() -> None:
    """No script, picture, frame, form or file of another server: the page works without a network and leaks nothing."""
    page = Page(render(SNAPSHOT))
    tags = {tag for tag, _ in page.tags}

    assert set() == tags & {"script", "img", "iframe", "form", "link", "object", "base"}
    assert [] == page.attributes("src") + [name for _, names in page.tags for name in names if name.startswith("on")]
    assert "url(" not in render(SNAPSHOT)
    assert "@import" not in render(SNAPSHOT)


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "</th></table>",
        "&lt;",
        "\"'><img src=x>",
        "{version}",
        "{0}",
        "%s",
        "-->",
        "</title>",
        "\x00",
    ],
)
def test_names_are_text(name: str) -> None:
    """Whatever a pool or a version is called, the page shows just that and has no element more."""
    identity = PoolIdentity(name)
    page = Page(render(Snapshot((replace(FRESH, identity=identity),), build={"version": name})))
    plain = Page(render(Snapshot((FRESH,), build={"version": "x"})))

    assert plain.tags == page.tags
    assert name == page.rows[1][0]
    assert name in page.texts


@pytest.mark.parametrize(
    ("used", "most", "pending", "alarms"),
    [(0, 15, 0, 0), (14, 15, 0, 0), (15, 15, 0, 1), (16, 15, 0, 1), (15, 15, 1, 2), (99, None, 0, 0), (0, 15, 1, 1)],
    ids=["calm", "almost", "full", "over", "full-and-pending", "no-limit", "pending"],
)
def test_what_is_wrong_stands_out(used: int, most: int | None, pending: int, alarms: int) -> None:
    """A pool with nothing left to give is marked, and so are callers that wait."""
    page = page_of(used=used, pending=pending, config=PoolConfig(max=most))

    assert alarms == page.attributes("class").count("alarm")
