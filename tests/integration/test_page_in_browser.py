"""The status page in a real browser: requests, scripts on and off, keyboard, screen readers, contrast, a phone."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from pool_exporter.web.page.assets import REFRESH_SECONDS
from pool_exporter.web.page.html import render
from pool_exporter.web.status.source import StatusSource
from pool_exporter.web.thread_server import MetricsServer, start_http_server
from tests.fixtures.incidents import AT, INCIDENTS, Incident, many, two_services
from tests.fixtures.programs import require

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
CONTRAST = 4.5
"""The least contrast of text and its background: level AA of WCAG 2.2."""
REFRESH_MS = REFRESH_SECONDS * 1000 + 100

CONTRASTS = """() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (each) => {
    for (; each; each = each.parentElement) {
      const colour = parts(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = {};
  for (const each of document.body.querySelectorAll("*")) {
    const own = [...each.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || each.tagName === "SCRIPT" || !each.getClientRects().length) continue;
    const [a, b] = [light(parts(getComputedStyle(each).color)), light(behind(each))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const name = each.tagName + "." + each.className;
    found[name] = Math.min(found[name] || 99, ratio);
  }
  return found;
}"""
"""Returns the least contrast of the texts of each kind of element."""


class State:
    """What the server shows; a test changes it."""

    def __init__(self, incident: Incident) -> None:
        self.incident = incident


@pytest.fixture(name="browser", scope="module")
def _browser() -> Iterator[Browser]:
    path = str(require("chromium"))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(name="state")
def _state() -> State:
    return State(many())


@pytest.fixture(name="server")
def _server(state: State, monkeypatch: pytest.MonkeyPatch) -> Iterator[MetricsServer]:
    """A server that shows the state as that of its process."""
    monkeypatch.setattr("pool_exporter.web.status.own_process.own_reports", lambda: lambda: state.incident.reports)
    monkeypatch.setattr("pool_exporter.web.thread_server.own_source", lambda: lambda: state.incident.snapshot)
    statuses = partial(StatusSource, clock=lambda: AT)
    monkeypatch.setattr("pool_exporter.web.status.own_process.StatusSource", statuses)
    with start_http_server(0) as server:
        yield server


class Opened:
    """A page in the browser, and what was seen of it."""

    def __init__(self, browser: Browser, server: MetricsServer, **context: Any) -> None:
        self.page: Page = browser.new_page(**context)
        self.urls: list[str] = []
        self.faults: list[str] = []
        self.page.on("request", lambda request: self.urls.append(request.url))
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.clock.install()
        self.page.goto(server.url)

    def refresh(self) -> None:
        """Let the time pass until the page refreshes itself."""
        self.page.clock.run_for(REFRESH_MS)


def test_it_asks_its_own_server_only(browser: Browser, server: MetricsServer) -> None:
    """Loaded and refreshed, the page requests nothing but itself, and the policy stops none of its own parts."""
    opened = Opened(browser, server)
    with opened.page.expect_response(server.url):
        opened.refresh()
    opened.page.close()

    assert [server.url, server.url] == [url for url in opened.urls if not url.endswith("/favicon.ico")]
    assert {True} == {url.startswith(server.url) for url in opened.urls}
    assert [] == [fault for fault in opened.faults if "favicon" not in fault and "404" not in fault]


def test_it_refreshes_in_place(browser: Browser, server: MetricsServer, state: State) -> None:
    """A refresh shows the new state, and keeps what is unfolded and what has the focus."""
    page = (opened := Opened(browser, server)).page
    page.locator("#quiet > summary").click()
    expect(page.locator("h1")).to_have_text("2 of 300 pools in trouble")
    state.incident = Incident(many().snapshot, many().reports[:0])
    opened.refresh()

    expect(page.locator(".is-trouble .verdict").first).to_have_text("no verdict yet")
    expect(page.locator("#quiet")).to_have_attribute("open", "")
    expect(page.locator("#quiet > summary")).to_be_focused()
    state.incident = Incident(two_services().snapshot)
    opened.refresh()
    expect(page.locator("h1")).not_to_have_text("2 of 300 pools in trouble")
    page.close()


def test_without_an_answer_the_last_state_stays(browser: Browser, server: MetricsServer) -> None:
    """When the process no longer answers, the page keeps what it said, and says how old that is."""
    page = (opened := Opened(browser, server)).page
    server.close()
    opened.refresh()

    expect(page.locator("#age")).to_contain_text(re.compile(r"No answer for \d+ s: what is below is old\."))
    expect(page.locator("#age")).to_have_attribute("role", "status")
    expect(page.locator("main")).to_contain_text("POST /exports")
    page.close()


def test_paused_page_stays(browser: Browser, server: MetricsServer) -> None:
    """A paused page sends no further request."""
    opened = Opened(browser, server)
    opened.page.get_by_role("link", name="pause").click()
    expect(opened.page.get_by_role("link", name="refresh again")).to_be_visible()
    before = len(opened.urls)
    opened.refresh()
    opened.refresh()
    opened.page.close()

    assert before == len(opened.urls)


def test_without_scripts(browser: Browser, server: MetricsServer) -> None:
    """Where scripts are off, the page has everything, and has the browser load it again."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(server.url)

    expect(page.locator('meta[http-equiv="refresh"]')).to_have_attribute("content", str(REFRESH_SECONDS))
    expect(page.locator("main")).to_contain_text("taken at orders/export.py:88 in export_rows")
    context.close()


def test_keyboard(browser: Browser, server: MetricsServer) -> None:
    """Tab reaches all that can be used, in the order of the page; Enter unfolds."""
    page = Opened(browser, server).page
    reached = []
    for _ in range(7):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent"))
        if reached[-1] == "295 quiet pools":
            page.keyboard.press("Enter")

    assert [
        "pause",
        "295 quiet pools",
        "/metrics",
        "/-/pools.json",
        "/-/healthy",
        "/-/ready",
        "/-/runbooks/",
    ] == reached
    expect(page.locator("#quiet")).to_have_attribute("open", "")
    page.close()


ROLES = {
    '- heading "2 of 300 pools in trouble" [level=1]',
    '- region "orders leak":',
    '- heading "orders leak" [level=2]:',
    "- term: Waiting",
    "- 'table \"1 busy pool: full, or with callers that wait\"':",
    '- columnheader "Waiting"',
    '- rowheader "tenant-170"',
    "- main:",
    "- contentinfo:",
    "- banner:",
}


def test_screen_reader(browser: Browser, server: MetricsServer) -> None:
    """Headings, regions, terms and tables have their roles and names."""
    page = Opened(browser, server).page
    found = {line.strip() for line in page.locator("body").aria_snapshot().splitlines()}
    page.close()

    assert set() == ROLES - found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("shows_holders", [True, False], ids=["holders", "hint"])
def test_contrast(browser: Browser, scheme: Any, shows_holders: bool) -> None:
    """Every text has the contrast that WCAG asks for, in both colour schemes."""
    page = browser.new_page(color_scheme=scheme)
    least: dict[str, float] = {}
    for incident in INCIDENTS.values():
        page.set_content(render(incident().status(shows_holders=shows_holders)))
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        for name, ratio in page.evaluate(CONTRASTS).items():
            least[name] = min(least.get(name, 99.0), ratio)
    page.close()

    assert {} == {name: ratio for name, ratio in least.items() if ratio < CONTRAST}
    assert {"STRONG.verdict", "DD.alarm", "SMALL."} <= set(least)


@pytest.mark.parametrize("width", [390, 320])
def test_phone(browser: Browser, width: int) -> None:
    """On a phone nothing is wider than the screen, so that one scrolls down only."""
    page = browser.new_page(viewport={"width": width, "height": 800})
    widest: dict[str, int] = {}
    for name, incident in INCIDENTS.items():
        page.set_content(render(incident().status()))
        widest[name] = page.evaluate("document.documentElement.scrollWidth")
    page.close()

    assert {} == {name: found for name, found in widest.items() if found > width}
