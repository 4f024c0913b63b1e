"""The servers' side of a page: every number of a hand-made snapshot, and no other, read back by Prometheus' parsers."""

import math
import re
from collections.abc import Mapping
from dataclasses import fields, replace

import pytest
from prometheus_client.core import Metric as Family

from pool_exporter.metrics.server_metrics import BACKEND_STATES, HELD_STATES, SERVER_ERRORS, SERVER_METRICS
from pool_exporter.metrics.server_snapshot import Bouncer, ServerIdentity, ServerSnapshot
from pool_exporter.metrics.snapshot import Snapshot
from tests.golden import FORMATS, SNAPSHOT, TEXT, Parse, scrape

DATABASE = ServerSnapshot(
    identity=ServerIdentity("postgresql", "db.example.com", "5432", (("primary", "5432"),)),
    up=1,
    errors={**dict.fromkeys(SERVER_ERRORS.values, 0), "connect": 2},
    pools=8,
    budget=120.0,
    last_success_timestamp=1_795_000_000.5,
    connections_max=97,
    connections={
        ("checkout", "shop"): {**dict.fromkeys(BACKEND_STATES.values, 0), "idle": 5, "idle_in_transaction": 1},
        ('a"\\\n\u20ac', ""): {**dict.fromkeys(BACKEND_STATES.values, 0), "unknown": 3},
    },
    oldest_transaction_seconds=12.5,
    oldest_idle_transaction_seconds=0.0,
    orphaned=2,
    held={("orders", "checkout"): {**dict.fromkeys(HELD_STATES.values, 0), "gone": 1}},
    shared={("orders", "checkout"): 3},
    idle_in_transaction={("orders", "checkout"): 4},
    gone={("orders", "checkout"): 0},
)
"""A database server that has been through something."""

DOWN = ServerSnapshot(
    identity=ServerIdentity("mysql", "db2", "3306"),
    up=0,
    errors=dict.fromkeys(SERVER_ERRORS.values, 0),
    pools=0,
    budget=math.inf,
)
"""A server that has never been seen."""

BOUNCER = replace(
    DOWN,
    identity=ServerIdentity("pgbouncer", "db", "6432"),
    up=1,
    bouncer=Bouncer(
        clients={("shop", "app"): {"active": 9, "waiting": 3}},
        servers={("shop", "app"): {"active": 2, "idle": 0, "used": 1, "tested": 0, "login": 0}},
        maxwait_seconds={("shop", "app"): 0.25},
        pool_size={("shop",): 20},
    ),
)

SERVERS = replace(SNAPSHOT, servers=(DATABASE, DOWN, BOUNCER))
OF_SERVERS = "sqlalchemy_pool_server_"

# What the three have to show, zeros aside: written out by hand, the renderer's oracle.
EXPECTED: Mapping[tuple[str, str, str], float] = {
    ("up", "postgresql", ""): 1,
    ("last_success_timestamp_seconds", "postgresql", ""): 1_795_000_000.5,
    ("errors_total", "postgresql", "error_type=connect"): 2,
    ("connections_max", "postgresql", ""): 97,
    ("connections", "postgresql", "application_name=checkout,db_namespace=shop,state=idle"): 5,
    ("connections", "postgresql", "application_name=checkout,db_namespace=shop,state=idle_in_transaction"): 1,
    ("connections", "postgresql", 'application_name=a"\\\n\u20ac,state=unknown'): 3,
    ("oldest_transaction_seconds", "postgresql", ""): 12.5,
    ("pools", "postgresql", ""): 8,
    ("budget", "postgresql", ""): 120,
    ("orphaned", "postgresql", ""): 2,
    ("held", "postgresql", "db_client_connection_pool_name=orders,service_name=checkout,state=gone"): 1,
    ("shared", "postgresql", "db_client_connection_pool_name=orders,service_name=checkout"): 3,
    ("idle_in_transaction", "postgresql", "db_client_connection_pool_name=orders,service_name=checkout"): 4,
    ("budget", "mysql", ""): math.inf,
    ("up", "pgbouncer", ""): 1,
    ("budget", "pgbouncer", ""): math.inf,
    ("bouncer_clients", "pgbouncer", "db_namespace=shop,state=active,user=app"): 9,
    ("bouncer_clients", "pgbouncer", "db_namespace=shop,state=waiting,user=app"): 3,
    ("bouncer_servers", "pgbouncer", "db_namespace=shop,state=active,user=app"): 2,
    ("bouncer_servers", "pgbouncer", "db_namespace=shop,state=used,user=app"): 1,
    ("bouncer_maxwait_seconds", "pgbouncer", "db_namespace=shop,user=app"): 0.25,
    ("bouncer_pool_size", "pgbouncer", "db_namespace=shop"): 20,
}


def values_of(page: list[Family]) -> dict[tuple[str, str, str], float]:
    """Return the servers' samples by name, system and the labels of their own."""
    found: dict[tuple[str, str, str], float] = {}
    for family in page:
        for sample in family.samples:
            if sample.name.startswith(OF_SERVERS):
                labels = dict(sample.labels)
                system = labels.pop("db_system_name")
                del labels["server_address"], labels["server_port"]
                own = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
                assert (sample.name, system, own) not in found
                found[sample.name.removeprefix(OF_SERVERS), system, own] = sample.value
    return found


@FORMATS
def test_page_says_what_the_servers_say(accept: str, parse: Parse) -> None:
    """Every number is read back, with its labels, in either format."""
    found = values_of(parse(scrape(accept, snapshot=SERVERS)))

    assert EXPECTED == {key: value for key, value in found.items() if value}


@FORMATS
def test_zeros_are_there_and_unknowns_are_not(accept: str, parse: Parse) -> None:
    """A server that is down has its state, its errors and the budget; nothing that only a look can tell."""
    found = values_of(parse(scrape(accept, snapshot=replace(SNAPSHOT, servers=(DOWN,)))))

    assert {"up": 0.0, "pools": 0.0, "budget": math.inf} == {
        name: value for (name, _, own), value in found.items() if not own
    }
    assert len(SERVER_ERRORS.values) == sum(name == "errors_total" for name, _, _ in found)
    assert len(SERVER_ERRORS.values) + 3 == len(found)


@pytest.mark.parametrize("name", ["connections", "held"])
def test_all_states_are_there(name: str) -> None:
    """A closed set of labels is complete for every name."""
    metric = next(metric for metric in SERVER_METRICS if metric.field == name)
    page = scrape(TEXT, snapshot=SERVERS)

    assert metric.label is not None
    for state in metric.label.values:
        assert re.search(rf'^{metric.prometheus}{{.*state="{state}"', page, re.MULTILINE)


@FORMATS
def test_pools_are_shown_as_before(accept: str, parse: Parse) -> None:
    """The servers' side stands beside the pools', and changes nothing of it."""
    page = parse(scrape(accept, snapshot=SERVERS))

    assert parse(scrape(accept)) == [family for family in page if not family.name.startswith(OF_SERVERS)]


def test_every_metric_is_on_the_page_in_order() -> None:
    """With a server, the page has each family of the catalogue; without one, none."""
    families = re.findall(rf"^# TYPE ({OF_SERVERS}\w+)", scrape(TEXT, snapshot=SERVERS), re.MULTILINE)

    assert [metric.prometheus for metric in SERVER_METRICS] == families
    assert OF_SERVERS not in scrape(TEXT, snapshot=Snapshot())


def test_every_field_is_declared() -> None:
    """Each metric is a field or property of a server's snapshot; each field is a metric, or made for something else."""
    made = {"identity", "bouncer"}
    shown = {metric.field for metric in SERVER_METRICS}

    assert {field.name for field in fields(ServerSnapshot)} - made == {s for s in shown if not s.startswith("bouncer_")}
    assert all(hasattr(DATABASE, field) for field in shown)
