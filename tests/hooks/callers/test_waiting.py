"""The unit of a caller where one that has ended is still current in its context."""

import threading
from collections.abc import Iterator

import pool_exporter
from pool_exporter.units import Unit, current_unit
from tests.pools import Database, measured


def steps() -> Iterator[Unit | None]:
    """Yield inside of a unit."""
    with pool_exporter.unit("inner"):
        yield current_unit.get()


def close_elsewhere(generator: Iterator[Unit | None]) -> None:
    """Enter the generator's unit here, and have another thread close it."""
    next(generator)
    thread = threading.Thread(target=generator.close)  # type: ignore[attr-defined]  # a generator has it
    thread.start()
    thread.join()


def test_caller_around_a_generator_that_is_closed_elsewhere() -> None:
    """Once another thread has closed a generator with a unit, what its consumer checks out is of the unit around it."""
    engine = Database().engine()
    with pool_exporter.instrument(engine) as monitor, pool_exporter.unit("outer"):
        close_elsewhere(steps())
        with engine.connect():
            held = {name: use.connections for name, use in measured(monitor).snapshot().units.items()}
    engine.dispose()

    assert 1 == held["outer"]
    assert held.get("inner", 0) == held["none"] == 0


def test_caller_in_a_unit_that_has_ended() -> None:
    """Without a unit that goes on, the caller has none."""
    engine = Database().engine()
    with pool_exporter.instrument(engine) as monitor:
        close_elsewhere(steps())
        with engine.connect():
            held = {name: use.connections for name, use in measured(monitor).snapshot().units.items()}
        current_unit.set(None)
    engine.dispose()

    assert (1, 0) == (held["none"], held.get("inner", 0))
