"""The versions of pool_exporter and SQLAlchemy, from the metadata of the installed packages."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def build() -> dict[str, str]:
    """Return the labels of `pool_exporter_build_info`."""
    return {"version": _version("pool-exporter"), "sqlalchemy_version": _version("sqlalchemy")}


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
