"""The snapshot of a pool when SQLAlchemy cannot be measured: how many connections are used, and nothing else.

Pure values, as in `snapshot`.
"""

from dataclasses import fields
from types import MappingProxyType

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.snapshot import PoolSnapshot, Value


class DegradedPoolSnapshot(PoolSnapshot):
    """A `PoolSnapshot` of which only `used` is known: every other number is None, and no output has it.

    Attributes:
        used: Used connections now; None for a pool that has no public count.
    """

    __slots__ = ()

    used: int | None  # type: ignore[assignment]  # the base class always has it

    def __init__(self, identity: PoolIdentity, used: int | None) -> None:
        known = {"identity": identity, "config": PoolConfig(), "used": used, "counters": MappingProxyType({})}
        for field in fields(PoolSnapshot):
            object.__setattr__(self, field.name, known.get(field.name))

    def value(self, field: str) -> Value:
        """Return what a metric of this *field* shows: the used connections, and None for all others."""
        return {"used": self.used} if field == "count" and self.used is not None else None

    @property
    def open(self) -> None:  # type: ignore[override]  # not known
        """Not known."""

    @property
    def connects(self) -> None:  # type: ignore[override]  # likewise
        """Not known."""

    @property
    def leaked(self) -> None:  # type: ignore[override]  # likewise
        """Not known."""

    @property
    def acquire_failures(self) -> None:  # type: ignore[override]  # likewise
        """Not known."""

    @property
    def closes(self) -> None:  # type: ignore[override]  # likewise
        """Not known."""

    @property
    def invalidations(self) -> None:  # type: ignore[override]  # likewise
        """Not known."""

    @property
    def timeouts(self) -> None:  # type: ignore[override]  # likewise
        """Not known."""

    @property
    def checkouts(self) -> None:  # type: ignore[override]  # likewise
        """Not known."""

    @property
    def info(self) -> None:  # type: ignore[override]  # likewise
        """Not known."""
