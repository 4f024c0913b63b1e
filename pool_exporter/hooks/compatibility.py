"""Whether the installed SQLAlchemy is one that the hooks can measure, decided before anything is patched."""

from sqlalchemy import __version__

from pool_exporter.errors import UnsupportedError
from pool_exporter.hooks.sqlalchemy_private import verify


def require() -> None:
    """Raise UnsupportedError if this SQLAlchemy works in another way."""
    wrong = verify()
    if wrong:
        raise UnsupportedError(f"SQLAlchemy {__version__}", wrong)
