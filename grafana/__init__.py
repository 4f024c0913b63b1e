"""Dashboards and rules as code: `python -m grafana` writes the JSON and YAML that is committed beside it.

- promql.py names series from the catalogue; queries.py has the expressions that boards and rules share.
- panels.py and board.py make panels and boards; paint.py has their colours.
- boards/ has the boards, rules/ the recording rules and alerts; dashboards/ is the JSON for Grafana.

The package pool_exporter may not import this package, and it is in no wheel.
"""
