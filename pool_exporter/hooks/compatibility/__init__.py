"""Decides, before anything is patched, whether the hooks can measure the installed SQLAlchemy.

`sqlalchemy_private.verify()` checks its names. For a version that the package's CI has not run, `self_test` also checks
that a pool behaves as the state machine expects. Where something does not fit, nothing may be patched or listened to.
Nothing here raises.
"""

import logging
from functools import cache
from typing import Final

from sqlalchemy import __version__

from pool_exporter.hooks.compatibility.self_test import failures
from pool_exporter.hooks.sqlalchemy_private import verify

TESTED_VERSIONS: Final = frozenset({"2.0.58", "2.1.9"})
"""The versions of SQLAlchemy that the package's CI runs."""

_log = logging.getLogger("pool_exporter")


def incompatibilities(version: str = __version__) -> list[str]:
    """Return what does not fit in the installed SQLAlchemy, which is of this *version*; [] if everything fits."""
    found = verify()
    return found if found or version in TESTED_VERSIONS else failures()


@cache
def is_supported() -> bool:
    """Return whether the hooks can measure the installed SQLAlchemy; if not, log one WARNING."""
    found = incompatibilities()
    if found:
        _log.warning(
            "SQLAlchemy %s works in another way than this version of pool_exporter knows: only the number of used "
            "connections is measured; upgrade pool_exporter (missing: %s)",
            __version__,
            ", ".join(found),
        )
    return not found
