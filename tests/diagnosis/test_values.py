"""The values of a diagnosis are frozen, and have the fields that the documentation names."""

from dataclasses import fields

import pytest

from pool_exporter.diagnosis.evidence import Evidence
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.metrics.holders import Holder, Waiter

FIELDS = {
    Diagnosis: {"pool", "at", "verdict", "summary", "holders", "waiters", "notes"},
    Holder: {
        *("place", "unit", "unit_code", "activity", "now", "owner", "is_owner_alive", "seconds", "transaction"),
        "server_pid",
    },
    Waiter: {"place", "unit", "owner", "seconds", "holds"},
}


@pytest.mark.parametrize("kind", FIELDS)
def test_fields(kind: type[Diagnosis | Holder | Waiter]) -> None:
    """Each value has at least the fields that users read."""
    assert set() == FIELDS[kind] - {field.name for field in fields(kind)}


VALUES = [
    (Diagnosis("orders", 0.0, "healthy", "fine"), "pool"),
    (Holder(1.0), "seconds"),
    (Waiter(1.0), "seconds"),
    (Evidence(), "used"),
]


@pytest.mark.parametrize(("value", "field"), VALUES)
def test_frozen(value: Diagnosis | Holder | Waiter | Evidence, field: str) -> None:
    """No field can be changed."""
    with pytest.raises(AttributeError):  # A FrozenInstanceError is one.
        setattr(value, field, "changed")


def test_text() -> None:
    """`str()` is the screen; without one it is the summary."""
    assert str(Diagnosis("orders", 0.0, "healthy", "fine")) == "fine"
    assert str(Diagnosis("orders", 0.0, "healthy", "fine", _screen="all of it")) == "all of it"
