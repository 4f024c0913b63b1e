"""The plan of a server's pools: what each is set to, whether that is enough for its load, and how long callers wait."""

from math import inf

import pytest

from pool_exporter.advice.fleet import Fleet
from pool_exporter.advice.fleet_plan import Plan, Processes, plan_of
from pool_exporter.advice.load import Load
from pool_exporter.advice.loads.named_load import Advised, NamedLoad, advised
from pool_exporter.advice.observation import PoolKey
from pool_exporter.advice.sizing import Target
from pool_exporter.advice.traffic import Totals
from pool_exporter.metrics.pool_metrics import BUCKETS

AS_NOW = Processes()
TARGET = Target(wait_seconds=0.05)


def instance(host: str, used: float) -> Advised:
    """Return the pool of one instance of the service, of which that many connections were used at a time."""
    uses = round(used * 20 * 10)
    buckets = tuple(uses if index == 8 else 0 for index in range(BUCKETS))
    load = Load(Totals(uses, 0, uses * 0.05, buckets, uses * 0.05), 10.0, size=5)
    key: PoolKey = ("orders", "postgresql", "shop", "db", "5432", "", "", "api", f"{host}:80")
    return advised(NamedLoad(f"orders {host}", load, key=key), TARGET, None)


def planned(most: int, *pools: Advised, processes: Processes = AS_NOW) -> Plan:
    """Return the plan of a server that accepts so many connections."""
    return plan_of(Fleet(most, margin=0), pools, pools, processes, TARGET)


def test_the_instance_that_needs_most_decides() -> None:
    """Instances are replicas of one pool, with the load and the size of the busiest of them."""
    quiet, busy = instance("a", 1), instance("b", 6)
    plan = planned(1000, quiet, busy)
    assert busy.advice is not None

    assert {"orders": busy.named.load} == plan.loads
    assert busy.advice.recommended == plan.advice.pools["orders"].needed
    assert 2 == plan.advice.pools["orders"].processes


def test_other_processes() -> None:
    """How many processes there are can be said."""
    plan = planned(1000, instance("a", 1), processes=Processes(workers=3, replicas=4))

    assert 12 == plan.advice.pools["orders"].processes


@pytest.mark.parametrize(("most", "is_enough", "waits"), [(100, True, True), (6, False, False), (0, False, False)])
def test_whether_it_is_enough(most: int, is_enough: bool, waits: bool) -> None:
    """A limit below the load, or none at all, is not enough: callers wait without an end."""
    plan = planned(most, instance("a", 6.5))

    assert (is_enough, waits) == (plan.is_enough("orders"), plan.wait_seconds("orders") < inf)


def test_what_is_left_out() -> None:
    """A pool without a known load is named, and so is one of another server."""
    known, new, other = instance("a", 1), Advised(NamedLoad("new", None, "it is new"), None), instance("b", 1)
    plan = plan_of(Fleet(100), [known, new], [known, new, other], Processes(), TARGET)

    assert (("new",), ("orders b",)) == (plan.not_counted, plan.elsewhere)
