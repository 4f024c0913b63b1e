"""One pool's numbers: slot layout, state machine, decoding, aggregation.

No SQLAlchemy, IO or thread; the clock is passed in.
"""

from pool_exporter.compiled import paths as _paths

__path__[:0] = _paths("state")
