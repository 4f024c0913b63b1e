"""Situations from public bug reports, replayed on real pools and servers: `make reports`.

`engines` and `exporters` have the table of situations, a row each; `python -m tests.integration.reports` writes
docs/explanation/field-reports.md from it. The truth of a replay comes from the server, from SQLAlchemy's pool, or from
a counter of the application, never from this package. A row that a test elsewhere in the suite shows names that test.
"""
