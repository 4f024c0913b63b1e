"""Dashboards and rules as code: `python -m grafana` writes the JSON and YAML that is committed beside it.

- promql.py names series, by the catalogue alone; queries.py says what the boards and the rules have in common.
- panels.py and board.py say what a panel and a board of ours look like; paint.py has their colours.
- boards/ are the boards; rules/ are recording rules and alerts; dashboards/ is what Grafana reads.

Nothing of the package pool_exporter may import this, and it is in no wheel.
"""
