"""The identity and the configuration of a pool: the label values of its series.

Pure values; nothing here may know SQLAlchemy, a file or an output format.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from pool_exporter.metrics.validation import Count, Text, validate


@dataclass(frozen=True, slots=True)
class PoolIdentity:
    """Which pool: the values of `pool_metrics.POOL_LABELS`, in that order; "" where the pool has none."""

    name: Text
    system: Text = ""
    namespace: Text = ""
    address: Text = ""
    port: Text = ""
    service: Text = ""
    instance: Text = ""

    def __post_init__(self) -> None:
        validate(self)

    def values(self) -> tuple[str, ...]:
        """Return the label values in the order of `pool_metrics.POOL_LABELS`."""
        return (self.name, self.system, self.namespace, self.address, self.port, self.service, self.instance)


OTHER_POOL: Final = PoolIdentity("other")
"""The pool to which the counters of all pools beyond a limit are added."""


def within_limit(identity: PoolIdentity, known: Collection[PoolIdentity], most: int) -> PoolIdentity:
    """Return the pool to which the counters of *identity* are added: itself, or OTHER_POOL beyond *most* known ones."""
    return identity if identity in known or len(known) < most else OTHER_POOL


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """How a pool is set up.

    Attributes:
        max: Most open connections; None where there is no limit.
        idle_max: Most idle connections; None where there is no limit.
        labels: The labels of `sqlalchemy_pool_info`.
        processes: In how many living processes; of several, the limits are added up.
    """

    max: Count | None = None
    idle_max: Count | None = None
    labels: Mapping[Text, Text] = field(default_factory=dict)
    processes: Count = 1

    def __post_init__(self) -> None:
        validate(self)
