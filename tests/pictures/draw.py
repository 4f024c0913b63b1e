"""Draws the boards from a recording: bundles page.jsx, serves it with the boards, and takes screenshots in Chromium."""

import functools
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copy
from urllib.parse import urlencode

from playwright.sync_api import Browser, sync_playwright

from tests.fixtures.processes import free_port
from tests.fixtures.programs import require
from tests.pictures.record import ROOT, prometheus

HERE = Path(__file__).parent
PACKAGES = (
    "@grafana/data@13.2.2",
    "@grafana/schema@13.2.2",
    "@grafana/ui@13.2.2",
    "esbuild",
    "react@18",
    "react-dom@18",
)
BUNDLE = (
    *("npx", "esbuild", "page.jsx", "--bundle", "--outfile=page.js", "--format=iife", "--jsx=automatic", "--minify"),
    *("--loader:.svg=text", "--loader:.ttf=dataurl", "--define:global=window"),
    *("--define:process.env={}", '--define:process.env.NODE_ENV="production"'),
)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTH = 1448
PAGE = """\
<!doctype html>
<link rel="stylesheet" href="page.css">
<body style="margin: 0"><div id="root"></div><script src="page.js"></script>
"""
CHOSEN = {"pool": {"var-job": "orders", "var-instance": "orders-0"}}
"""The values of a board's variables; all values for a board that is not here."""
PARTS = {"pool": ("diagnosis", 1122)}
"""A picture of the upper part of a board: its name and its height. This one is at the head of the README."""


def bundle(directory: Path) -> None:
    """Put the page and all that it needs into *directory*; install the packages there if they are missing."""
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "node_modules").exists():
        subprocess.run(["npm", "install", "--legacy-peer-deps", *PACKAGES], cwd=directory, check=True)
        subprocess.run(["npm", "rebuild", "esbuild"], cwd=directory, check=True)
    copy(HERE / "page.jsx", directory)
    subprocess.run(BUNDLE, cwd=directory, check=True, capture_output=True)
    (directory / "index.html").write_text(PAGE)
    for board in (ROOT / "grafana" / "dashboards").glob("*.json"):
        copy(board, directory)


def draw(recording: Path, directory: Path, images: Path) -> None:
    """Draw every board from *recording* into *images*; print which panels have no data or an error."""
    bundle(directory)
    config = recording / "empty.yml"
    config.write_text("scrape_configs: []\n")
    port = free_port()
    span = json.loads((recording / "time.json").read_text())
    with prometheus(recording, port, config), _served(directory) as address, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(require("chromium")), args=list(FLAGS))
        for board in sorted(path.stem for path in (ROOT / "grafana" / "dashboards").glob("*.json")):
            parameters = {"prom": f"http://127.0.0.1:{port}", "board": f"{board}.json", **span, **CHOSEN.get(board, {})}
            _take(chromium, f"{address}/index.html?{urlencode(parameters)}", images, board)
        chromium.close()


def _take(chromium: Browser, url: str, images: Path, board: str) -> None:
    page = chromium.new_page(viewport={"width": WIDTH, "height": 900})
    page.goto(url)
    page.wait_for_function("window.__done", timeout=60_000)
    page.set_viewport_size({"width": WIDTH, "height": int(page.evaluate("window.__height || 900"))})
    page.wait_for_timeout(500)
    page.screenshot(path=images / f"board-{board}.png")
    if board in PARTS:
        name, height = PARTS[board]
        page.screenshot(path=images / f"{name}.png", clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
    faults, empty = page.evaluate("window.__errors"), page.evaluate("window.__empty")
    page.close()
    if faults or empty:
        print(f"{board}: {faults}, without data: {empty}")


@contextmanager
def _served(directory: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(directory))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log no requests."""
