"""What is known of a caller of `connect()`: its task, thread or greenlet, its unit of work, its place, and its wait.

`place` runs at each checkout, `waiting` for each caller that has to wait. Nothing here may count.
"""

from pool_exporter.compiled import paths as _paths

__path__[:0] = _paths("hooks.callers")
