"""Pictures of the boards for the documentation: recorded from the demo's scenes, drawn with Grafana's own components.

`python -m tests.pictures record DIRECTORY` plays the scenes under a real Prometheus, which keeps what it scraped there;
`python -m tests.pictures draw DIRECTORY` draws every board from it into docs/images. Grafana's server is not needed,
and not there: page.jsx shows a board's JSON with the panels of @grafana/ui, which npm has, in a headless Chromium. It
is run by hand, and the pictures are looked at before they are committed; no test depends on it.
"""
