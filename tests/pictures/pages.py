"""Takes pictures of the status page, in Chromium, and of `pool-exporter top`, in incidents that are made by hand.

They are the incidents of tests/fixtures/incidents.py, so that a picture changes only when what it shows does.
"""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, ViewportSize, sync_playwright
from rich.console import Console, Group, RenderableType
from rich.segment import Segment
from rich.terminal_theme import MONOKAI

from pool_exporter.commands.terminal.frame import frame
from pool_exporter.commands.terminal.samples import Sample
from pool_exporter.commands.terminal.view import View, pressed, rows_of
from pool_exporter.web.page.html import render
from tests.fixtures.incidents import INCIDENTS
from tests.fixtures.programs import require
from tests.pictures.palette import smaller

FLAGS: Final = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-lcd-text")
WIDE: Final = 1040
PHONE: Final = 390
HEIGHT_MAX: Final = 1700
COLUMNS, LINES = 120, 26

PAGES: Final = (
    ("leak", False, WIDE),
    ("leak", False, PHONE),
    ("burst", True, WIDE),
    ("burst", False, PHONE),
    ("frozen", False, WIDE),
    ("two-services", True, WIDE),
    ("many", False, WIDE),
    ("many", True, PHONE),
)
"""The incident, the colour scheme and the width of each picture of the page."""

SVG: Final = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>.{unique_id}-matrix {{ font: {char_height}px/{line_height}px "DejaVu Sans Mono", monospace; }} {styles}</style>
<defs>{lines}</defs><rect width="100%" height="100%" fill="#1b1b1b"/>
<g transform="translate(9, 9)" clip-path="url(#{unique_id}-clip-terminal)">{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g></g></svg>"""
"""A terminal without a frame, and without a font from another host."""


def take_pages(images: Path) -> None:
    """Take the pictures of the page and of `top` into *images*."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(require("chromium")), args=list(FLAGS))
        for name, is_dark, width in PAGES:
            kind = "-dark" * is_dark + "-phone" * (width == PHONE)
            _take_page(chromium, name, images / f"page-{name}{kind}.png", is_dark=is_dark, width=width)
        for name in INCIDENTS:
            _take_terminal(chromium, name, images / f"top-{name}.png")
        _take_terminal(chromium, "leak", images / "top-open.png", "enter")
        chromium.close()


def _take_page(chromium: Browser, name: str, path: Path, *, is_dark: bool, width: int) -> None:
    size: ViewportSize = {"width": width, "height": 400}
    page = chromium.new_page(viewport=size, color_scheme="dark" if is_dark else "light")
    page.set_content(render(INCIDENTS[name]().status()))
    height = min(HEIGHT_MAX, page.evaluate("document.documentElement.scrollHeight"))
    page.set_viewport_size({"width": width, "height": height})
    path.write_bytes(smaller(page.screenshot()))
    page.close()


def _take_terminal(chromium: Browser, name: str, path: Path, *keys: str) -> None:
    samples = [Sample("http://127.0.0.1:10042/", INCIDENTS[name]().status(), "", 100.0)]
    view = View()
    for key in keys:
        view = pressed(view, key, rows_of(samples, view))
    console = Console(record=True, width=COLUMNS, height=LINES, file=StringIO(), force_terminal=True)
    lines, _ = frame(console, samples, view, (COLUMNS, LINES), 100.0)
    console.print(Group(*map(_Line, lines)))
    svg = console.export_svg(title="", theme=MONOKAI, code_format=SVG, unique_id="top")
    page = chromium.new_page(viewport={"width": WIDE, "height": 400})
    page.set_content(f'<body style="margin: 0">{svg}</body>')
    box = page.locator("svg").bounding_box()
    assert box is not None
    path.write_bytes(smaller(page.screenshot(clip=box, full_page=True)))
    page.close()


class _Line:
    """One line that is laid out already."""

    def __init__(self, segments: list[Segment]) -> None:
        self._segments = segments

    def __rich_console__(self, *_: object) -> Iterator[RenderableType | Segment]:
        yield from self._segments
        yield Segment.line()
