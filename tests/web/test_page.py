"""The status page shows the pools, its links work under any prefix, and no name is interpreted as HTML."""

from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

import pytest

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.web.page import render
from tests.golden import FRESH, ORDERS, SNAPSHOT

VOID = {"meta"}


class Page(HTMLParser):
    """Parses a page; every tag must be closed in its order."""

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
        """Record the tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag: str) -> None:
        """Check that it closes the tag that was opened last."""
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        """Record the text, and the cell that contains it."""
        self.texts.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1].append(data)

    def attributes(self, name: str) -> list[str | None]:
        """Return all values of an attribute."""
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def page_of(**changes: Any) -> Page:
    """Return the page of the pool `orders` with *changes*."""
    return Page(render(Snapshot((replace(ORDERS, **changes),))))


def test_pools_are_a_table() -> None:
    """Each pool has a row: connections used, idle and at most, and pending callers."""
    assert [
        ["Pool", "Used", "Idle", "Max", "Pending"],
        ['a\\b "c"\nd é\U0001f418', "0", "0", "no limit", "0"],
        ["orders", "7", "3", "15", "2"],
    ] == Page(render(SNAPSHOT)).rows


MAIN = PoolIdentity("main", "postgresql", "shop", "db1", "5432", "checkout", "a1")


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"service": "billing"}, ["main service billing", "main service checkout"]),
        ({"service": ""}, ["main no service", "main service checkout"]),
        ({"instance": "b2"}, ["main instance a1", "main instance b2"]),
        ({"address": "db2", "namespace": "new"}, ["main shop, db1", "main new, db2"]),
        ({"system": "mysql", "port": "3306"}, ["main mysql, port 3306", "main postgresql, port 5432"]),
        ({"name": "other"}, ["main", "other"]),
    ],
)
def test_pools_of_one_name_are_distinguished(changes: dict[str, str], shown: list[str]) -> None:
    """Where two pools have one name, each row adds what differs: the service, as a rule."""
    identities = (MAIN, replace(MAIN, **changes))
    page = Page(render(Snapshot(tuple(replace(ORDERS, identity=identity) for identity in identities))))

    assert sorted(shown) == sorted("".join(row[:-4]) for row in page.rows[1:])


def test_label_that_is_no_text_does_not_cost_the_page() -> None:
    """A name or a service that is a UUID or a number is shown as its text."""
    identities = [PoolIdentity(7, service=service) for service in (UUID(int=1), UUID(int=2))]  # type: ignore[arg-type]  # an application may give any object
    page = Page(render(Snapshot(tuple(replace(ORDERS, identity=identity) for identity in identities))))

    assert ["7 ", f"service {UUID(int=1)}"] == page.rows[1][:2]


def test_without_a_pool_it_says_what_to_do() -> None:
    """The page without a pool names the call that instruments one."""
    page = Page(render(Snapshot()))

    assert [] == page.rows
    assert "pool_exporter.instrument(engine)" in "".join(page.texts)


def test_version_is_shown() -> None:
    """The version of pool_exporter is on the page."""
    assert "1.2.3" in Page(render(SNAPSHOT)).texts


def test_links_lead_on_under_any_prefix() -> None:
    """The links are relative: an app mounted at /pools/ has its metrics at /pools/metrics."""
    assert ["metrics", "-/healthy", "-/ready"] == Page(render(SNAPSHOT)).attributes("href")


def test_nothing_is_loaded_or_run() -> None:
    """The page has no script, image, frame, form or file of another server: it works without a network."""
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
    """A name of a pool, or a version, is shown as text and adds no element."""
    identity = PoolIdentity(name)
    page = Page(render(Snapshot((replace(FRESH, identity=identity),), build={"version": name})))
    plain = Page(render(Snapshot((FRESH,), build={"version": "x"})))

    assert plain.tags == page.tags
    assert name == page.rows[1][0]
    assert name in page.texts


@pytest.mark.parametrize(
    ("used", "lost", "most", "pending", "alarms"),
    [
        *((0, 0, 15, 0, 0), (14, 0, 15, 0, 0), (15, 0, 15, 0, 1), (16, 0, 15, 0, 1), (15, 0, 15, 1, 2)),
        *((99, 0, None, 0, 0), (0, 0, 15, 1, 1), (12, 2, 15, 0, 0), (12, 3, 15, 0, 1)),
    ],
    ids=["calm", "almost", "full", "over", "full-and-pending", "no-limit", "pending", "some-lost", "full-with-lost"],
)
def test_full_pools_and_pending_callers_are_marked(
    used: int, lost: int, most: int | None, pending: int, alarms: int
) -> None:
    """The cell of a pool without a place left is marked, and so is the number of pending callers above 0."""
    page = page_of(used=used, lost_places=lost, pending=pending, config=PoolConfig(max=most))

    assert alarms == page.attributes("class").count("alarm")
