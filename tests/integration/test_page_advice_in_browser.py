"""Sizes and findings of the status page in a real browser: keyboard, screen readers, contrast, a phone, other hosts."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from pool_exporter.web.page.html import render
from tests.fixtures.incidents import FOUND, burst, leak
from tests.fixtures.programs import require
from tests.integration.test_page_in_browser import FLAGS

GRAPHICS = 3.0
"""The least contrast of what a chart draws and its background: level AA of WCAG 2.2."""
TEXT = 4.5
"""The least contrast of its texts and their background."""

STROKES = """() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const card = light(parts(getComputedStyle(document.querySelector(".pool")).backgroundColor));
  const ratio = (colour) => {
    const [a, b] = [light(parts(colour)), card].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const found = {};
  for (const each of document.querySelectorAll(".chart :is(.curve, .mark, .now, .wanted, text)")) {
    const style = getComputedStyle(each), name = each.tagName + "." + each.getAttribute("class");
    found[name] = ratio(each.tagName === "text" ? style.fill : style.stroke);
  }
  return found;
}"""
"""Returns the contrast of each kind of element of a chart."""

OVERLAPS = """() => {
  const texts = [...document.querySelectorAll(".chart text")];
  const boxes = texts.map((each) => [each.textContent, each.getBoundingClientRect()]);
  const inside = document.querySelector(".chart").getBoundingClientRect();
  const found = [];
  for (const [index, [text, a]] of boxes.entries()) {
    if (a.left < inside.left - 1 || a.right > inside.right + 1) found.push(text);
    for (const [other, b] of boxes.slice(index + 1)) {
      const isBeside = a.left >= b.right || b.left >= a.right;
      if (!isBeside && a.top + 3 < b.bottom && b.top + 3 < a.bottom) found.push(text + "/" + other);
    }
  }
  return found;
}"""
"""Returns the texts of a chart that are outside of it or over another one."""


@pytest.fixture(name="browser", scope="module")
def _browser() -> Iterator[Browser]:
    path = str(require("chromium"))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield chromium
        chromium.close()


def shown(browser: Browser, incident: Any, **context: Any) -> Page:
    """Return the page of an incident."""
    page = browser.new_page(**context)
    page.set_content(render(incident.status()))
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_of_the_chart(browser: Browser, scheme: Any) -> None:
    """Lines, marks and texts of the chart can be seen in both colour schemes."""
    page = shown(browser, burst(), color_scheme=scheme)
    found: dict[str, float] = page.evaluate(STROKES)
    page.close()

    assert {"polyline.curve", "path.mark now", "path.mark wanted", "text.label", "text.null"} <= set(found)
    assert {} == {name: ratio for name, ratio in found.items() if ratio < (TEXT if "text" in name else GRAPHICS)}


@pytest.mark.parametrize("width", [1040, 390, 320])
@pytest.mark.parametrize("make", [burst, leak])
def test_texts_of_the_chart_can_be_read(browser: Browser, make: Any, width: int) -> None:
    """On every screen the chart is whole, no text covers another, and none is smaller than 9 pixels."""
    page = shown(browser, make(), viewport={"width": width, "height": 800})
    overlaps = page.evaluate(OVERLAPS)
    scale = page.evaluate("document.querySelector('.chart').getBoundingClientRect().width / 360")
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.close()

    assert ([], True, True) == (overlaps, scale * 12 >= 9, wide <= width)


def test_keyboard(browser: Browser) -> None:
    """Tab reaches the chart's table and the findings with their rules, in the order of the page; Enter unfolds."""
    page = shown(browser, leak())
    reached = []
    for _ in range(3 + len(FOUND)):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent"))
        if reached[-1] == "The chart as a table":
            page.keyboard.press("Enter")

    table = page.get_by_role("table", name="The chart as a table")
    assert [
        "pause",
        "The chart as a table",
        "Check: 1 error, 3 warnings, 1 info",
        *[each.id for each in FOUND],
    ] == reached
    expect(table.get_by_role("rowheader").first).to_be_visible()
    page.close()


def test_screen_reader(browser: Browser) -> None:
    """The chart is an image with a name that says the size now and the recommended one."""
    page = shown(browser, burst())
    chart = page.get_by_role("img", name="p99 wait by pool size: 15 connections now, 19 recommended")

    expect(chart).to_be_visible()
    expect(page.get_by_role("heading", name="Size: 15 now, 19 recommended")).to_be_visible()
    page.close()
