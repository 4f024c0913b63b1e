"""A unit has a name and a code object, at the latest when it ends, and keeps nothing of the application then."""

import asyncio
import gc
from types import CodeType
from weakref import ref

import pytest

from pool_exporter.hook_errors import errors
from pool_exporter.units import NO_UNIT, Resolved, Unit, current_unit, label, leave
from pool_exporter.units.unit_of_work import KEPT_MAX
from tests.fakes import FakeRequest


class Uses:
    """A table that keeps what is added to it."""

    def __init__(self) -> None:
        self.added: list[tuple[str, int]] = []

    def add(self, unit: Unit, ns: int) -> None:
        """Keep the unit's name at this moment."""
        self.added.append((unit.final_name, ns))


def test_name_is_a_label() -> None:
    """A name is text of bounded length that can be encoded, whatever object it was."""
    assert "7" == Unit(7).name
    assert 200 == len(Unit("x" * 1000).name)
    assert "a?b" == Unit("a\ud800b").name
    assert NO_UNIT == Unit("").name


def test_label_of_an_object_without_text() -> None:
    """An object that has no text is labelled by its type."""

    class Broken:
        def __str__(self) -> str:
            raise ValueError

    assert "Broken" == label(Broken())


class Declared(Unit):
    """A unit whose name is a route."""

    __slots__ = ()

    is_declared = True


@pytest.mark.parametrize(
    "name",
    [
        "POST /tokens:issue",
        "GET /<password:id>/a",
        "GET /secrets={id}/x",
        "GET /fetch/http://{host}:{port}/{path}",
        "GET /fetch/http://{host}:8080/@{user}",
        "GET /mail/{user}@{host}",
        "token:refresh",
    ],
)
def test_route_has_no_password(name: str) -> None:
    """A route or a task's name is the application's code: nothing of it is masked, so no two become one."""
    assert (name, name) == (Declared(name).name, Declared(resolver=lambda: Resolved(name, None, is_final=True)).name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sync postgresql://u:Zq9@h/d", "sync postgresql://u:***@h/d"),
        ("GET /to/https://u:Z:q9@h/d", "GET /to/https://u:***@h/d"),
        ("https://:Zq9@[::1]:80/x", "https://:***@[::1]:80/x"),
        ("https://u:12@h/x", "https://u:***@h/x"),
    ],
)
def test_url_in_a_name_has_no_password(name: str, expected: str) -> None:
    """The login of a URL is masked in every name, also where an application has put it into a route."""
    assert (expected, expected) == (Declared(name).name, Unit(name).name)


@pytest.mark.parametrize("name", ["login u:Zq9@h", "password=Zq9", "--password Zq9", "Bearer Zq9Zq9Zq9"])
def test_password_in_a_name_that_is_given_at_run_time(name: str) -> None:
    """The name of `unit()` may be put together from anything: what looks like a password is masked."""
    assert "Zq9" not in Unit(name).name


def test_name_given_is_final() -> None:
    """A unit that has a name from its begin has it for good."""
    unit = Unit("nightly", is_long=True)

    assert ("nightly", "nightly", True, False) == (unit.name, unit.settled_name(), unit.is_long, unit.is_done)


def test_name_is_resolved_late() -> None:
    """A request's name changes until its route is known, and then no more."""
    request = FakeRequest()
    unit = Unit(resolver=request)
    before = unit.name, unit.settled_name()
    request.route = "GET /orders"
    found = unit.settled_name()
    request.route = "GET /other"

    assert ("GET (no route)", "") == before
    assert ("GET /orders", "GET /orders") == (found, unit.name)


def test_end_keeps_the_name_that_there_is() -> None:
    """A request without a route keeps the name that says so, and its code."""
    unit = Unit(resolver=FakeRequest())
    unit.end()

    assert ("GET (no route)", True) == (unit.final_name, unit.is_done)
    assert isinstance(unit.code, CodeType)


def test_end_frees_the_request() -> None:
    """Nothing of the application is alive for a unit that has ended."""
    request = FakeRequest()
    weak, unit = ref(request), Unit(resolver=request)
    del request
    is_alive_before = weak() is not None
    unit.end()

    assert (True, None) == (is_alive_before, weak())


def test_uses_before_the_name_are_added_at_the_end() -> None:
    """A use that ended before the route was known counts for the name that was found, once."""
    request, uses = FakeRequest(), Uses()
    unit = Unit(resolver=request)
    unit.keep(uses, 5)
    request.route = "GET /orders"
    unit.end()
    unit.end()

    assert [("GET /orders", 5)] == uses.added


def test_many_uses_without_a_route_settle_the_name() -> None:
    """A connection that stays open without a route is shown before its end, and what it keeps does not grow."""
    uses = Uses()
    unit = Unit(resolver=FakeRequest())
    for _ in range(KEPT_MAX - 1):
        unit.keep(uses, 5)
    before = unit.settled_name()
    unit.keep(uses, 5)
    after = unit.settled_name()
    unit.end()

    assert ("", "GET (no route)") == (before, after)
    assert [("GET (no route)", 5 * KEPT_MAX)] == uses.added


def test_error_of_the_application_stays_inside() -> None:
    """A route object that raises costs the name, and raises nowhere."""

    def broken() -> Resolved:
        raise LookupError("no route")

    before = errors.count
    try:
        unit = Unit(resolver=broken)
        name = unit.name
        unit.end()

        assert (NO_UNIT, NO_UNIT, None) == (name, unit.final_name, unit.code)
        assert errors.count > before
    finally:
        errors.count = before


def test_task_is_held_weakly() -> None:
    """A unit leads to the task in which it began while that exists, and to None outside of one."""

    async def begin() -> tuple[Unit, bool]:
        unit = Unit("a")
        return unit, unit.task() is asyncio.current_task()

    unit, is_own = asyncio.run(begin())
    gc.collect()

    assert (True, None, None) == (is_own, unit.task(), Unit("b").task())


def test_leaving_puts_the_outer_unit_back() -> None:
    """After the inner unit, the outer one is current again."""
    outer, inner = Unit("outer"), Unit("inner")
    outer_token = current_unit.set(outer)
    inner_token = current_unit.set(inner)
    leave(inner, inner_token)
    between = current_unit.get()
    leave(outer, outer_token)

    assert (outer, None, True) == (between, current_unit.get(), inner.is_done)


def test_leaving_in_another_context_changes_nothing_there() -> None:
    """A unit that is left in a context where it was not entered ends, and the unit of that context stays."""
    unit, own = Unit("a"), Unit("b")

    async def enter() -> object:
        return current_unit.set(unit)

    token = asyncio.run(enter())
    own_token = current_unit.set(own)
    leave(unit, token)  # type: ignore[arg-type]  # a token that has passed through a task
    found = current_unit.get()
    leave(own, own_token)

    assert (True, own) == (unit.is_done, found)


@pytest.mark.parametrize("is_done", [False, True])
def test_repr_says_whether_it_is_done(is_done: bool) -> None:
    """A developer sees name and state."""
    unit = Unit("a")
    if is_done:
        unit.end()

    assert f"<Unit 'a'{' done' if is_done else ''}>" == repr(unit)
