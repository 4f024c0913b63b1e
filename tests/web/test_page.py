"""The status page shows what an operator needs, its links work under any prefix, and no name is interpreted as HTML."""

from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest

from pool_exporter.metrics.degraded_snapshot import DegradedPoolSnapshot
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.reports.process_report import PoolReport
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.web.page.assets import SECURITY_POLICY
from pool_exporter.web.page.html import FEW, QUIET_MAX, render
from pool_exporter.web.page.pools import GROUPS_MAX
from pool_exporter.web.status.values import HolderGroup, PoolStatus, Status, VerdictStatus
from tests.fixtures.incidents import AT, FOUND, INCIDENTS, ORDERS, Incident, frozen, leak, many, pool
from tests.golden import FRESH, SNAPSHOT

VOID = {"meta"}


class Page(HTMLParser):
    """Parses a page; every tag must be closed in its order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.texts: list[str] = []
        self.contents: dict[str, str] = {}
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
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """Check that it closes the tag that was opened last."""
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        """Record the text, the cell that contains it, and the content of the tag."""
        tag = self.open[-1] if self.open else ""
        self.contents[tag] = self.contents.get(tag, "") + data
        if tag not in ("script", "style"):
            self.texts.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        """All text that is shown, with single spaces."""
        return " ".join("".join(self.texts).split())

    def attributes(self, name: str) -> list[str | None]:
        """Return all values of an attribute."""
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def of(incident: Incident, *, shows_holders: bool = True) -> Page:
    """Return the page of an incident."""
    return Page(render(incident.status(shows_holders=shows_holders)))


def of_pools(*pools: Any, **snapshot: Any) -> Page:
    """Return the page of pools of which no report is known, each in a row, because there are others."""
    others = [pool(PoolIdentity(f"\uffff{number}")) for number in range(FEW + 1)]
    found = of(Incident(Snapshot((*pools, *others), **snapshot)))
    found.rows = [row for row in found.rows if not row[0].startswith("\uffff")]
    return found


# What it shows.


@pytest.mark.parametrize(
    "text",
    [
        "orders: leak",
        "Connections are held by code that has ended without returning them. 4 of 4 connections are used, 14 callers",
        "(report of 12:04:27 UTC, process 4711)",
        "Do: Return the connection on every path:",
        "Used4 of 4",
        "Waiting14",
        "Oldest waits for1.9 s",
        "Wait p50< 1 mslast 45 s",
        "Wait p99821 mslast 45 s",
        "Timeouts6last 45 s",
        "Saturatednow, 31.5 slast 45 s",
        "Oldest use2.1 s",
        "Held: 4 connections, by unit of work and place",
        "4 \N{MULTIPLICATION SIGN} POST /exports 2.1 s at most, ended, in a transaction, lost",
        "taken at orders/export.py:88 in export_rows < orders/api.py:41 in post_export",
        "endpoint orders/api.py:31 in post_export",
        "owner AnyIO worker thread, server pid 8123, 8124, 8125, 8126, process 4711",
        "Waiting: 14 callers",
        "14 \N{MULTIPLICATION SIGN} GET /orders/{id} 1.9 s at most",
        "12:04:31 UTC",
    ],
)
def test_leak(text: str) -> None:
    """A pool in trouble has its verdict, what to do, its numbers, its holders by unit and place, and its waiters."""
    found = of(leak())

    assert text in found.text.replace("\n", "")


def test_without_access_there_are_verdict_and_numbers_and_the_line() -> None:
    """Where holders may not be seen, the rest is there, and what to do to see them."""
    text = of(leak(), shows_holders=False).text

    assert "Connections are held by code that has ended without returning them. 4 of 4 connections are used" in text
    assert "Do: Return the connection on every path" in text
    assert "make_asgi_app(diagnosis=True)" in text
    assert [] == [each for each in ("POST /exports", "export.py", "GET /orders", "Held:") if each in text]


def test_quiet_pools_are_a_table() -> None:
    """A pool without trouble has a row."""
    found = of_pools(pool(replace(ORDERS, service="billing"), used=2, oldest_use_seconds=0.0125), pool())

    assert [
        ["Pool", "Used", "Waiting", "Wait p99", "Timeouts since start", "Oldest use"],
        ["orders service billing", "2 of 15", "0", "\N{EN DASH}", "0", "12 ms"],
        ["orders service checkout", "0 of 15", "0", "\N{EN DASH}", "0", "\N{EN DASH}"],
    ] == found.rows


def test_frozen_and_dead_processes() -> None:
    """A process that is frozen or has ended is shown with what it holds or held, also while no pool is in trouble."""
    text = of(frozen()).text

    assert "No pool in trouble, 1 frozen process" in text
    assert "3 workers: 2 living, 1 frozen; ended: 1 crashed" in text
    assert "process 4712, service checkout: frozen, last heartbeat 42.0 s ago, holds 2 connections" in text
    assert "process 4713, service checkout: crashed 2 min ago, held 1 connection" in text
    assert "1 \N{MULTIPLICATION SIGN} POST /exports" in text


def test_processes_that_ended_earlier_are_folded() -> None:
    """What crashed workers held is kept for a day; after a quarter of an hour it is folded away."""
    incident = frozen()
    ended = replace(incident.reports[2], seen_at=AT - 1000)
    found = of(replace(incident, reports=(*incident.reports[:1], ended)))

    assert ["ended"] == [attributes["id"] for tag, attributes in found.tags if tag == "details"]
    assert "Processes: 1 that ended earlier" in found.text


def test_process_that_ended_with_nothing_is_not_shown() -> None:
    """A worker that was stopped in order leaves no trace on the page: a deployment ends many."""
    incident = frozen()
    ended = replace(incident.reports[2], pools=(PoolReport(ORDERS),))

    assert "4713" not in of(replace(incident, reports=(*incident.reports[:2], ended))).text


def test_frozen_processes_without_access() -> None:
    """Without access, states and numbers of processes are shown, and not what they hold."""
    text = of(frozen(), shows_holders=False).text

    assert "frozen, last heartbeat 42.0 s ago, holds 2 connections" in text
    assert "POST" not in text


def test_many_pools() -> None:
    """Of 300 pools those with most trouble are shown in full, other busy ones are in a table, the quiet ones folded."""
    found = of(many())
    articles = [attributes for tag, attributes in found.tags if tag == "section"]

    assert ["pool is-trouble"] * 2 + ["pool is-busy"] * 2 == [each["class"] for each in articles]
    assert "2 of 300 pools in trouble" in found.text
    assert "1 busy pool: full, or with callers that wait" in found.text
    assert ["295 quiet pools"] == [text for text in found.texts if "quiet pool" in text]
    folded = [str(attributes["id"]) for tag, attributes in found.tags if tag == "details"]
    assert ["checks", "quiet"] == [each for each in folded if not each.startswith("p")]
    assert 296 + 2 == len([row for row in found.rows if not row[0].isdigit() and row[0] != "Connections"])


def test_quiet_pools_are_not_folded_without_trouble() -> None:
    """Without trouble, there is nothing that many quiet pools could hide."""
    pools = [pool(PoolIdentity(f"p{number}")) for number in range(QUIET_MAX + 1)]
    found = of(Incident(Snapshot(tuple(pools))))

    assert "details" not in {tag for tag, _ in found.tags}
    assert f"{QUIET_MAX + 1} pools, no trouble" in found.text


def test_many_groups_are_folded() -> None:
    """Of many groups of holders the largest are shown, and the others folded, so that the waiters are near."""
    groups = tuple(HolderGroup(1, 1.0, unit=f"unit {number}") for number in range(GROUPS_MAX + 3))
    shown = PoolStatus(ORDERS, "trouble", holders=groups)
    found = Page(render(Status(0.0, shows_holders=True, pools=(shown,))))

    assert "3 groups more" in found.text
    assert GROUPS_MAX + 3 == found.text.count("\N{MULTIPLICATION SIGN} unit")


MAIN = PoolIdentity("main", "postgresql", "shop", "db1", "5432", "checkout", "a1")


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"service": "billing"}, ["main service billing", "main service checkout"]),
        ({"service": ""}, ["main no service", "main service checkout"]),
        ({"instance": "b2"}, ["main instance a1", "main instance b2"]),
        ({"address": "db2", "namespace": "new"}, ["main new, db2", "main shop, db1"]),
        ({"system": "mysql", "port": "3306"}, ["main mysql, port 3306", "main postgresql, port 5432"]),
        ({"name": "other"}, ["main", "other"]),
    ],
)
def test_pools_of_one_name_are_distinguished(changes: dict[str, str], shown: list[str]) -> None:
    """Where two pools have one name, each row adds what differs: the service, as a rule."""
    found = of_pools(pool(MAIN), pool(replace(MAIN, **changes)))

    assert shown == sorted(row[0] for row in found.rows[1:])


def test_pool_that_is_not_measured() -> None:
    """Where SQLAlchemy is not supported, a pool has its used connections, and every other number is unknown."""
    found = of_pools(degraded_pools=(DegradedPoolSnapshot(ORDERS, 3),))

    assert ["orders", "3, not measured", "unknown", "\N{EN DASH}", "unknown", "unknown"] == found.rows[1]


def test_without_a_pool_it_says_what_to_do() -> None:
    """The page without a pool names the call that instruments one."""
    found = Page(render(Status(0.0)))

    assert [] == found.rows
    assert "pool_exporter.instrument(engine)" in found.text


def test_version_is_shown() -> None:
    """The version of pool_exporter is on the page."""
    assert "pool_exporter 1.2.3" in of(Incident(SNAPSHOT)).text


def test_places_that_the_holders_show_are_not_repeated() -> None:
    """A verdict's places of checkout are those of the groups of holders; all others are shown with the verdict."""
    places = ("taken at a.py:1 in f, by export (2 x)", "callers wait at b.py:2 in g", "taken at c.py:3 in h")
    shown = PoolStatus(
        ORDERS,
        "trouble",
        verdicts=(VerdictStatus("leak", 0.0, where=places),),
        holders=(HolderGroup(2, 1.0, place="a.py:1 in f"),),
    )
    text = Page(render(Status(0.0, shows_holders=True, pools=(shown,)))).text

    assert [False, True, True] == [f"where {place}" in text for place in places]


def test_verdict_that_is_over() -> None:
    """A verdict of some time ago is shown as an earlier one, and a pool has no trouble by it."""
    verdict = VerdictStatus("burst", 0.0, is_current=False)
    shown = PoolStatus(ORDERS, "trouble", verdicts=(verdict,))
    text = Page(render(Status(600.0, pools=(shown,)))).text

    assert "earlier: burst" in text
    assert "orders: in trouble" in text


# What it is.


def test_links_lead_on_under_any_prefix() -> None:
    """The links are relative: an app mounted at /pools/ has its metrics at /pools/metrics."""
    rules = [f"-/checks/{finding.id}" for finding in FOUND]
    links = ["metrics", "-/pools.json", "-/healthy", "-/ready", "-/runbooks/", "-/checks/"]

    assert ["?refresh=off", *rules, *links] == of(leak()).attributes("href")


@pytest.mark.parametrize("name", INCIDENTS)
def test_nothing_is_loaded(name: str) -> None:
    """The page has no image, frame, form or file: it works without a network; no attribute is a script or a style."""
    incident = INCIDENTS[name]()
    found, html = of(incident), render(incident.status())
    tags = {tag for tag, _ in found.tags}
    names = {name for _, attributes in found.tags for name in attributes}

    assert set() == tags & {"img", "iframe", "form", "link", "object", "base"}
    assert set() == {name for name in names if name.startswith("on")} | names & {"src", "style"}
    assert [] == [each for each in ("url(", "@import", "http:", "https:", "//") if each in html]


def test_policy_allows_the_script_and_the_style_of_the_page_only() -> None:
    """The policy names the hashes of exactly what the page contains, and nothing is allowed inline beside them."""
    contents = of(leak()).contents
    hashes = {
        kind: "'sha256-" + b64encode(sha256(contents[tag].encode()).digest()).decode() + "'"
        for kind, tag in (("script-src", "script"), ("style-src", "style"))
    }
    directives = dict(each.split(" ", 1) for each in SECURITY_POLICY.split("; "))

    assert {**hashes, "default-src": "'none'", "connect-src": "'self'"} == {
        name: directives[name] for name in (*hashes, "default-src", "connect-src")
    }
    assert "unsafe" not in SECURITY_POLICY


def test_it_refreshes_itself_with_and_without_scripts() -> None:
    """Without scripts the browser loads the page again; with them the script does it."""
    html = render(leak().status())

    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in html
    assert ["5"] == Page(html).attributes("data-refresh")


def test_refresh_can_be_paused() -> None:
    """A paused page stays as it is, and has a link that starts it again."""
    html = render(leak().status(), is_paused=True)

    assert "http-equiv" not in html
    assert ["0"] == Page(html).attributes("data-refresh")
    assert "?" in Page(html).attributes("href")


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
    found = of_pools(replace(FRESH, identity=PoolIdentity(name)), build={"version": name})
    plain = of_pools(FRESH, build={"version": "x"})

    assert [tag for tag, _ in plain.tags] == [tag for tag, _ in found.tags]
    assert name == found.rows[1][0]
    assert f"pool_exporter {name}" in found.texts


def test_every_text_of_a_report_is_text() -> None:
    """No text that a process reports adds an element: places, units, owners, summaries, notes."""
    sharp = "<b x='\"&>"
    group = HolderGroup(
        *(1, 1.0, sharp, sharp, sharp),
        activities={sharp: 1},
        transactions={sharp: 1},
        now=(sharp,),
        owners=(sharp,),
    )
    verdict = VerdictStatus(sharp, 1.0, (1,), sharp, sharp, (sharp,), (sharp,), (sharp,))
    shown = PoolStatus(PoolIdentity(sharp), "trouble", sharp, holders=(group,), verdicts=(verdict,))
    html = render(Status(0.0, sharp, hint=sharp, pools=(shown,), shows_holders=True))

    assert "<b x" not in html
    assert Page(html).text.count(sharp) >= 14


@pytest.mark.parametrize(
    ("used", "lost", "most", "pending", "alarms"),
    [
        *((0, 0, 15, 0, 0), (14, 0, 15, 0, 0), (15, 0, 15, 0, 1), (16, 0, 15, 0, 1)),
        *((99, 0, None, 0, 0), (0, 0, 15, 1, 1), (12, 3, 15, 0, 2)),
    ],
    ids=["calm", "almost", "full", "over", "no-limit", "pending", "full-with-lost"],
)
def test_full_pools_and_pending_callers_are_marked(
    used: int, lost: int, most: int | None, pending: int, alarms: int
) -> None:
    """The number of a pool without a place left is marked, and so is the number of waiting callers above 0."""
    shown = pool(used=used, lost_places=lost, pending=pending, most=most)

    assert alarms == of_pools(shown).attributes("class").count("alarm")


def test_faults_of_a_sidecars_directory() -> None:
    """They are above everything else, escaped, and in place of the advice to instrument an engine."""
    text = "no worker was ever seen in /run/<pools>"
    page = Page(render(Status(AT, faults={"no_worker": text})))

    assert "No worker was ever seen" == page.contents["h1"]
    assert text in page.texts
    assert "Shared directory" in page.texts
    assert "instrument" not in page.contents.get("code", "")


@pytest.mark.parametrize("fault", ["missing", "no_directory", "unreadable"])
def test_headline_of_a_directory_that_cannot_be_read(fault: str) -> None:
    """The state in a few words says why there is no pool."""
    assert "The shared directory cannot be read" == Page(render(Status(AT, faults={fault: "…"}))).contents["h1"]


def test_headline_of_pools_is_about_pools() -> None:
    """A volume that is nearly full does not hide what is wrong with the pools."""
    page = Page(render(Status(AT, pools=(PoolStatus(ORDERS),), faults={"nearly_full": "the volume of /p has 1.0 MiB"})))

    assert "1 pool, no trouble" == page.contents["h1"]
    assert "the volume of /p has 1.0 MiB" in page.texts
