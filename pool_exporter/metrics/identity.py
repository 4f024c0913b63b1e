"""Which pool a number belongs to, and how that pool is configured: the label values of its series.

Pure values; nothing here may know SQLAlchemy, a file or an output format.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PoolIdentity:
    """Which pool: the values of `catalog.POOL_LABELS`, in that order; "" where the pool has none."""

    name: str
    system: str = ""
    namespace: str = ""
    address: str = ""
    port: str = ""
    service: str = ""
    instance: str = ""

    def values(self) -> tuple[str, ...]:
        """Return the label values in the order of `catalog.POOL_LABELS`."""
        return (self.name, self.system, self.namespace, self.address, self.port, self.service, self.instance)


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """How a pool is set up: its two limits (None: no limit) and the labels of `sqlalchemy_pool_info`."""

    max: int | None = None
    idle_max: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
