"""No value of a snapshot can be built with a number that cannot be; the error names the class, the field and the value.

The numbers are found in examples of all dataclasses of the wing, not by what `validation` knows of them.
"""

import dataclasses
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from math import inf, nan
from typing import Annotated, Any, TypeAlias, get_type_hints
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter import metrics
from pool_exporter.encodable import encodable
from pool_exporter.metrics.backend_activity import BackendActivity
from pool_exporter.metrics.degraded_snapshot import DegradedPoolSnapshot
from pool_exporter.metrics.holders import Holder, Waiter
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.metric import Label, Metric
from pool_exporter.metrics.pool_metrics import BUCKETS
from pool_exporter.metrics.pool_snapshot import Exemplar, Histogram, PoolSnapshot
from pool_exporter.metrics.reports.process_report import PoolReport, ProcessReport
from pool_exporter.metrics.server_snapshot import (
    Backend,
    Bouncer,
    LivingPool,
    PoolConnection,
    ServerIdentity,
    ServerSnapshot,
    ServerStats,
)
from pool_exporter.metrics.snapshot import DirectoryFaults, DirectoryHealth, PushHealth, Snapshot
from pool_exporter.metrics.unit_use import UnitUse
from pool_exporter.metrics.validation import Allowed, Seconds, validate
from tests.fixtures.health import health, push_health
from tests.golden import ORDERS, SNAPSHOT
from tests.web.test_server_families import BOUNCER, DATABASE

Path: TypeAlias = tuple[Any, ...]
"""A field's name, then the keys or indices that lead to a number in it."""

NAMES = ("shop", "app")
assert BOUNCER.bouncer is not None

EXAMPLES: tuple[Any, ...] = (
    PoolIdentity("orders"),
    PoolConfig(15, 5),
    Exemplar(0.5, 1, 2, 3),
    Histogram((1,) * BUCKETS, 1.5),
    UnitUse(1, 2.5),
    ORDERS,
    DegradedPoolSnapshot(PoolIdentity("orders"), 3),
    health(SNAPSHOT),
    push_health(SNAPSHOT),
    DirectoryFaults({"no_worker": "no worker was ever seen"}),
    SNAPSHOT,
    ServerIdentity("postgresql"),
    Backend(7, 1.0, "shop", "shop", "idle", 0.5, 2.0),
    BOUNCER.bouncer,
    ServerStats(100, connections=DATABASE.connections),
    PoolConnection(7, 1.0, 1, 2.0),
    LivingPool(PoolIdentity("orders"), 15),
    Holder(1.5, server_pid=7),
    Waiter(1.5, holds=1),
    PoolReport(PoolIdentity("orders"), verdict="leak", verdict_at=1.5),
    ProcessReport(7, heartbeat_age_seconds=0.5, seen_at=1.5),
    dataclasses.replace(DATABASE, shared={NAMES: 1}, gone={NAMES: 1}, idle_in_transaction={NAMES: 1}),
)
"""One instance of each dataclass of the wing, with a value in each mapping that can have any keys."""

SIGNED = {("PoolSnapshot", "accounting_drift")}
UNBOUNDED = {("Backend", "age_seconds_max"), ("ServerSnapshot", "budget")}
FLAGS = {("ServerSnapshot", "up"), ("Snapshot", "web_config_stale")}
NO_SNAPSHOTS = {BackendActivity, Label, Metric}


def number_paths(example: Any) -> Iterator[Path]:
    """Yield the path of every number in the fields of *example*, also of one that is None here."""
    hints = get_type_hints(type(example))
    for field in dataclasses.fields(example):
        value = getattr(example, field.name)
        if value is None and hints[field.name] in (int | None, float | None):
            yield (field.name,)
        yield from ((field.name, *rest) for rest in _inside(value))


def _inside(value: Any) -> Iterator[Path]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield ()
    elif isinstance(value, Mapping):
        yield from ((key, *rest) for key, each in value.items() for rest in _inside(each))
    elif isinstance(value, tuple):
        yield from ((at, *rest) for at, each in enumerate(value) for rest in _inside(each))


def changed(value: Any, path: Path, number: Any) -> Any:
    """Return *value* with *number* at the path."""
    if not path:
        return number
    if isinstance(value, tuple):
        return (*value[: path[0]], changed(value[path[0]], path[1:], number), *value[path[0] + 1 :])
    return {**value, path[0]: changed(value[path[0]], path[1:], number)}


def wrong_numbers(place: tuple[str, str], negative: float) -> set[float]:
    """Return numbers that cannot be in this field of this class."""
    if place in SIGNED:
        return {nan, inf, -inf}
    return {negative, -inf, nan} | ({2} if place in FLAGS else set()) | (set() if place in UNBOUNDED else {inf})


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
@given(st.integers(max_value=-1) | st.floats(max_value=0, exclude_max=True))
def test_wrong_number_is_refused(example: Any, negative: float) -> None:
    """Each number of each class is refused where it is negative, infinite or no number, and the error says where."""
    name = type(example).__name__
    for field, *rest in number_paths(example):
        for number in wrong_numbers((name, field), negative):
            changes = {field: changed(getattr(example, field), tuple(rest), number)}

            with pytest.raises(ValueError, match=rf"^{name}( of .+)?: {field}") as raised:
                dataclasses.replace(example, **changes)

            assert repr(number) in str(raised.value)


@pytest.mark.parametrize(
    "wrong", ["half \udc80", b"orders", UUID(int=7), None], ids=["surrogate", "bytes", "uuid", "none"]
)
@pytest.mark.parametrize(
    ("example", "field", "around"),
    [
        *((PoolIdentity("orders"), each.name, None) for each in dataclasses.fields(PoolIdentity)),
        *((ServerIdentity("mysql"), name, None) for name in ("system", "address", "port")),
        *((Backend(7, 1.0, "shop", "shop", "idle"), name, None) for name in ("application", "database")),
        (PoolConfig(), "labels", lambda text: {"driver": text}),
        (PoolConfig(), "labels", lambda text: {text: "asyncpg"}),
        (SNAPSHOT, "build", lambda text: {"version": text}),
        (DirectoryFaults({}), "texts", lambda text: {"missing": text}),
        *((Holder(1.0), name, None) for name in ("place", "unit", "unit_code", "owner", "server")),
        (Holder(1.0), "now", lambda text: (text,)),
        *((Waiter(1.0), name, None) for name in ("place", "unit", "owner")),
        *((PoolReport(PoolIdentity("orders")), name, None) for name in ("summary", "why")),
        *((PoolReport(PoolIdentity("orders")), name, lambda text: (text,)) for name in ("advice", "notes", "where")),
        *((ProcessReport(7), name, None) for name in ("service", "instance")),
        (ORDERS, "units", lambda text: {text: UnitUse(0, 0.0)}),
        (DATABASE, "gone", lambda text: {("orders", text): 1}),
    ],
)
def test_wrong_text_is_refused(example: Any, field: str, around: Any, wrong: object) -> None:
    """A label value is text that each output can encode; the error names the class, the field and the value."""
    with pytest.raises(ValueError, match=rf"^{type(example).__name__}( of .+)?: {field}.* must be text") as raised:
        dataclasses.replace(example, **{field: around(wrong) if around else wrong})

    assert repr(wrong) in str(raised.value)


@pytest.mark.parametrize(
    ("example", "field"),
    [
        (Holder(1.0), "activity"),
        (Holder(1.0), "transaction"),
        (PoolReport(PoolIdentity("orders")), "verdict"),
        (ProcessReport(7), "state"),
        (Backend(7, 1.0, "shop", "shop", "idle"), "state"),
    ],
)
def test_word_of_a_closed_set(example: Any, field: str) -> None:
    """A word that is not of the set is refused, and the error names it."""
    with pytest.raises(ValueError, match=rf"^{type(example).__name__}: {field} must be .*, got 'Dancing!'"):
        dataclasses.replace(example, **{field: "Dancing!"})


def test_verdict_of_a_later_release() -> None:
    """It is a word of the same form, and is shown as it is."""
    assert "gremlins" == PoolReport(PoolIdentity("orders"), verdict="gremlins").verdict


@pytest.mark.parametrize(("text", "expected"), [("orders", "orders"), ("\u20ac", "\u20ac"), ("a\ud800", "a?")])
def test_text_that_is_made_valid(text: str, expected: str) -> None:
    """What a file or a server has becomes text that can be encoded, at the cost of one character."""
    assert expected == PoolIdentity(encodable(text)).name


def test_every_class_has_an_example() -> None:
    """Each dataclass of the wing is among the examples."""
    found_modules = pkgutil.walk_packages(metrics.__path__, f"{metrics.__name__}.")
    modules = [import_module(each.name) for each in found_modules]
    found = {
        each
        for module in modules
        for _, each in inspect.getmembers(module, inspect.isclass)
        if dataclasses.is_dataclass(each)
    }

    assert found - NO_SNAPSHOTS == set(map(type, EXAMPLES))


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        *((Histogram, name) for name in ("buckets", "sum")),
        *((Bouncer, name) for name in ("clients", "servers", "maxwait_seconds", "pool_size")),
        *((ServerSnapshot, name) for name in ("shared", "gone", "idle_in_transaction", "held", "connections")),
        *((PoolSnapshot, name) for name in ("counters", "used_seconds")),
        (DirectoryHealth, "workers"),
        (PushHealth, "otlp_pushes"),
        (Snapshot, "transport_errors"),
    ],
)
def test_numbers_inside_are_among_the_places(kind: type, field: str) -> None:
    """The property above reaches the numbers in mappings and tuples as well."""
    assert (kind, field) in {(type(example), path[0]) for example in EXAMPLES for path in number_paths(example)}


@pytest.mark.parametrize(
    "values", [{}, {"nonsense": 1}, {"living": 1}, {"living": 1, "frozen": 0, "nonsense": 0}, 1, None]
)
def test_label_set_is_closed(values: Any) -> None:
    """Numbers by a label have each value of its set and nothing else."""
    with pytest.raises(ValueError, match=r"^DirectoryHealth: workers must have the values living, frozen, got "):
        dataclasses.replace(health(SNAPSHOT), workers=values)


def test_labelled_numbers_are_in_the_order_of_the_set() -> None:
    """Two snapshots of the same numbers print the same."""
    shown = dataclasses.replace(health(SNAPSHOT), workers={"frozen": 1, "living": 2})

    assert ["living", "frozen"] == list(shown.workers)


@pytest.mark.parametrize("buckets", [(), (0,) * (BUCKETS - 1), (0,) * (BUCKETS + 1)])
def test_histogram_has_all_buckets(buckets: tuple[int, ...]) -> None:
    """A histogram has one bucket more than there are bounds."""
    with pytest.raises(ValueError, match=f"^Histogram: buckets must be {BUCKETS}"):
        Histogram(buckets, 0.0)


@pytest.mark.parametrize("seconds", [(0.5, 0.5), (0.5, 2.0)])
def test_wrong_exemplars_are_refused(seconds: tuple[float, ...]) -> None:
    """There is one for a bucket, and none for a bucket without a duration."""
    buckets = [0] * BUCKETS
    buckets[Exemplar(0.5, 1, 2, 3).bucket] = 1
    exemplars = tuple(Exemplar(each, 1, 2, 3) for each in seconds)

    with pytest.raises(ValueError, match=r"^Histogram: exemplars must be one for a bucket that is not empty"):
        Histogram(tuple(buckets), 0.5, exemplars)


def test_exemplars_that_fit_are_taken() -> None:
    """A span may be made before its wait is counted: it is left out. Of two in a bucket, the later one is taken."""
    old, new, early = (Exemplar(seconds, at, 2, 3) for seconds, at in ((0.5, 1), (0.5, 2), (2.0, 3)))
    buckets = [0] * BUCKETS
    buckets[old.bucket] = 1

    assert (new,) == Histogram(tuple(buckets), 0.5).with_exemplars([old, new, early]).exemplars


@dataclasses.dataclass(frozen=True)
class Postponed:
    """A class of a module with annotations as text."""

    seconds: "Seconds"

    def __post_init__(self) -> None:
        validate(self)


def test_annotations_may_be_text() -> None:
    """A postponed annotation is checked like any other."""
    with pytest.raises(ValueError, match=r"^Postponed: seconds must be finite and not negative, got -1"):
        Postponed(-1)


@dataclasses.dataclass(frozen=True)
class Unchecked:
    """A class that does not say which numbers it may have."""

    number: Any

    def __post_init__(self) -> None:
        validate(self)


@pytest.mark.parametrize("hint", [int, float, int | None, tuple[int, ...], Mapping[str, int], Annotated[int, "small"]])
def test_number_without_a_range_is_no_annotation(hint: object) -> None:
    """A field cannot be left unchecked by mistake: its class cannot be used."""
    kind = dataclasses.make_dataclass("Loose", [("number", hint)], bases=(Unchecked,), frozen=True)

    with pytest.raises(TypeError, match="does not say which"):
        kind(1)


@pytest.mark.parametrize("number", ["1", None, (1,), {"a": 1}])
def test_what_is_no_number_is_refused(number: Any) -> None:
    """A number is neither text nor None nor several."""
    with pytest.raises(ValueError, match=f"^PoolSnapshot of 'orders': used must be {Allowed.FINITE.value}, got "):
        dataclasses.replace(ORDERS, used=number)
