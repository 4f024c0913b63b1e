"""The servers' side: probes that look at database servers, and what they saw joined with the living pools.

For a sidecar, three lines: `probe.add_arguments(parser)`, then `probes = probe.from_arguments(asked)` and
`probes.start()`; from then on `probes.joined(snapshot)` is the snapshot with the servers' side, and `probes.close()`
ends it. Importing this package loads neither SQLAlchemy nor a driver: asking for a probe does.
"""

from pool_exporter.probe.options import add_arguments, from_arguments

__all__ = ["add_arguments", "from_arguments"]
