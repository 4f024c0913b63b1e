"""Pictures for the documentation: of the boards, of the status page and of `pool-exporter top`.

The boards are recorded from the demo's scenes, and drawn with Grafana's own components.

`python -m tests.pictures record DIRECTORY` runs the scenes with a real Prometheus, which stores its data there;
`python -m tests.pictures draw DIRECTORY` draws every board from that data into docs/images. It needs no Grafana server:
page.jsx shows a board's JSON with the panels of @grafana/ui, from npm, in a headless Chromium.

`python -m tests.pictures pages` takes the pictures of page and `top` in the incidents of tests/fixtures/incidents.py.

All of it is run by hand, and a person checks the pictures before they are committed; no test depends on it.
"""
