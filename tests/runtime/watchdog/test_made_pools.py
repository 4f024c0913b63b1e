"""Many pools of one identity within a minute are noted, with the place where the present one was first used."""

from dataclasses import replace

from pool_exporter.diagnosis.examination import Examination
from pool_exporter.metrics.holders import Holder
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.runtime.watchdog.made_pools import MadePools, note_of_many

ORDERS = PoolIdentity("orders", "postgresql", "shop", "db", "5432")


def test_one_identity() -> None:
    """Pools that differ in the number of their name only are of one identity; a minute later they do not count."""
    now = [0.0]
    made = MadePools(lambda: now[0])
    for number in range(2, 8):
        made.add(replace(ORDERS, name=f"orders#{number}"))
    made.add(replace(ORDERS, namespace="audit"))
    made.add(replace(ORDERS, name="orders#team"))

    assert 6 == made.within_a_minute(ORDERS)
    now[0] = 60.1
    assert 0 == made.within_a_minute(ORDERS)


def test_note() -> None:
    """More than five are noted."""
    found = Examination("orders", 0.0, holders=(Holder(1.0, place="orders/db.py:9 in get_engine"),))

    assert note_of_many(5, found) == ()
    (only,) = note_of_many(6, found)
    assert only.startswith("6 pools of this name and database were made within the last minute")
    assert only.endswith("This one was first used at orders/db.py:9 in get_engine.")
