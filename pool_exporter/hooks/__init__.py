"""The patches of SQLAlchemy's methods, and what they report to the state machine.

No Exception of the package reaches the application from a patched method.
"""

from sqlalchemy import __version__ as _installed

from pool_exporter.compiled import paths as _paths

if _installed.startswith(("0.", "1.")):
    raise ImportError(f"pool_exporter needs SQLAlchemy 2.0 or later; SQLAlchemy {_installed} is installed")

__path__[:0] = _paths("hooks")
