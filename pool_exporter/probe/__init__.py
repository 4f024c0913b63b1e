"""Probes: they query database servers, and match the servers' backends with the living pools.

A sidecar calls `probe.add_arguments(parser)`, then `probes = probe.from_arguments(arguments, environ)` and
`probes.start()`. From then on `probes.joined(snapshot)` returns the snapshot with the servers' numbers;
`probes.close()` ends the probes.
Importing this package loads neither SQLAlchemy nor a driver; configuring a probe does.
"""

from pool_exporter.probe.options import add_arguments, from_arguments, targets_from_arguments

__all__ = ["add_arguments", "from_arguments", "targets_from_arguments"]
