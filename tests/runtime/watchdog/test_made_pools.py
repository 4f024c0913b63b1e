"""Many pools of one identity within a minute are noted, with the place where the present one was first used."""

from dataclasses import replace

from pool_exporter.diagnosis.examination import Examination
from pool_exporter.metrics.holders import Holder
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.runtime.watchdog.made_pools import MadePools, by_server, note_of_many

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


def test_one_server() -> None:
    """Pools of all names and databases of a server count together; of a file or a creator, those of the same name."""
    made, first = MadePools(lambda: 0.0), PoolIdentity("a.db", "sqlite")
    elsewhere = replace(ORDERS, port="5433")
    others = [replace(ORDERS, name="audit", namespace="audit"), elsewhere, replace(first, name="b.db")]
    for identity in (ORDERS, first, replace(first, name="a.db#2"), *others):
        made.add(identity)

    assert [2, 2, 1] == [made.within_a_minute(of, by_server) for of in (ORDERS, first, elsewhere)]


def test_number_of_keys_is_limited() -> None:
    """An application with ever new names keeps at most a thousand of them, and of each at most a thousand times."""
    made = MadePools(lambda: 0.0)
    for number in range(1001):
        made.add(replace(ORDERS, name=f"tenant{number}"))

    assert [0, 1] == [made.within_a_minute(replace(ORDERS, name=f"tenant{number}")) for number in (999, 1000)]
    assert 1000 == made.within_a_minute(ORDERS, by_server)


def test_note() -> None:
    """More than five are noted."""
    found = Examination("orders", 0.0, holders=(Holder(1.0, place="orders/db.py:9 in get_engine"),))

    assert note_of_many(5, found) == ()
    (only,) = note_of_many(6, found)
    assert only.startswith("6 pools of this name and database were made within the last minute")
    assert only.endswith("This one was first used at orders/db.py:9 in get_engine.")
