"""The JSON document: the whole state and back, and any other document is a ValueError."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.web.responses import POOLS, Request, respond
from pool_exporter.web.status.pools_json import SCHEMA, from_document, to_document
from pool_exporter.web.status.source import StatusSource
from pool_exporter.web.status.values import PoolStatus, Status
from tests.fixtures.incidents import AT, INCIDENTS, ORDERS, leak
from tests.golden import FRESH, SNAPSHOT


@pytest.mark.parametrize("name", INCIDENTS)
@pytest.mark.parametrize("shows_holders", [False, True])
def test_document_is_parsed_back(name: str, shows_holders: bool) -> None:
    """Written as JSON and read again, the state is the same, to the microsecond."""
    status = INCIDENTS[name]().status(shows_holders=shows_holders)
    written = json.dumps(to_document(status), allow_nan=False)
    again = from_document(json.loads(written))

    assert to_document(status) == to_document(again)
    assert [each.pool for each in status.pools] == [each.pool for each in again.pools]


def test_keys() -> None:
    """The document has its schema, the state's fields, and each pool with its identity."""
    document: dict[str, Any] = to_document(leak().status())
    [orders] = document["pools"]

    assert (SCHEMA, AT, True) == (document["schema"], document["at"], document["shows_holders"])
    assert ("orders", "checkout", 4, 14) == (
        *(orders["pool"][key] for key in ("name", "service")),
        *(orders[key] for key in ("used", "pending")),
    )
    assert [("POST /exports", 4)] == [(each["unit"], each["count"]) for each in orders["holders"]]


def test_response_is_json() -> None:
    """`/-/pools.json` is this document, with every name as ASCII."""
    response = respond(Request("GET", POOLS), lambda: SNAPSHOT, StatusSource(clock=lambda: AT))

    assert ("Content-Type", "application/json") in response.headers
    assert response.body.isascii()
    assert FRESH.name in [each.pool.name for each in from_document(json.loads(response.body)).pools]


def test_unknown_keys_are_ignored_and_missing_ones_have_defaults() -> None:
    """A document of a newer or an older version is read."""
    document = {"schema": SCHEMA, "at": 1, "new": [1], "pools": [{"pool": {"name": "orders"}, "new": None}]}

    assert Status(1, pools=(PoolStatus(ORDERS.__class__("orders")),)) == from_document(document)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"schema": SCHEMA + 1, "at": 1.0},
        {"schema": SCHEMA},
        {"schema": SCHEMA, "at": "1"},
        {"schema": SCHEMA, "at": True},
        {"schema": SCHEMA, "at": float("nan")},
        {"schema": SCHEMA, "at": float("inf")},
        {"schema": SCHEMA, "at": 10**400},
        {"schema": SCHEMA, "at": 1.0, "pools": {}},
        {"schema": SCHEMA, "at": 1.0, "pools": [1]},
        {"schema": SCHEMA, "at": 1.0, "pools": [{}]},
        {"schema": SCHEMA, "at": 1.0, "workers": []},
        {"schema": SCHEMA, "at": 1.0, "workers": {"living": "1"}},
    ],
)
def test_other_document(document: object) -> None:
    """A document that is not of this kind is a ValueError that says what is wrong."""
    with pytest.raises(ValueError, match=r"schema|must be|needs"):
        from_document(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["at", "pools", "processes", "workers", "hint", "degraded"]), JSON))
def test_any_document_is_a_state_or_a_value_error(document: dict[str, object]) -> None:
    """Whatever a server answers, reading it raises nothing else."""
    try:
        found = from_document({"schema": SCHEMA, **document})
    except ValueError:
        return

    assert isinstance(found, Status)
