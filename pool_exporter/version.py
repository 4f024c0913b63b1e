"""What is installed: the versions of pool_exporter and SQLAlchemy, and whether the hot path is compiled.

The versions are those of the packages' metadata. Nothing here may import SQLAlchemy.
"""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

from pool_exporter.compiled import is_compiled


@cache
def build() -> dict[str, str]:
    """Return the labels of the metric that has the build."""
    return {
        "version": _version("pool-exporter"),
        "sqlalchemy_version": _version("sqlalchemy"),
        "hot_path": "compiled" if is_compiled else "python",
    }


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
