"""The state of all pools as an operator reads it in an incident, for the page, its JSON and `pool-exporter top`.

It is a pure function of a Snapshot, the reports of the processes and earlier counters. Nothing here may know HTML, a
terminal or a web framework.
"""
