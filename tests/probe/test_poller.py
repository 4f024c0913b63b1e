"""A poller's own part, without a server: pauses that grow, lines that do not repeat, errors of any shape."""

import asyncio
import logging

import pytest

from pool_exporter.metrics.server_snapshot import Backend, ServerStats
from pool_exporter.probe.poller import FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS, Poller
from pool_exporter.probe.target import parse_target

INTERVAL = 15.0


class Unprintable(Exception):
    """An error that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.fixture(name="poller")
def _poller() -> Poller:
    return Poller(parse_target("postgresql://u:geheim@db/x"), INTERVAL, 5.0)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged."""
    return [record.getMessage() for record in caplog.records]


def test_pauses_grow_and_end(poller: Poller) -> None:
    """After each failure the pause is about twice as long, up to a limit; a success brings the interval back."""
    expected = [1.0, 2.0, 4.0, 8.0, 16.0, LAST_PAUSE_SECONDS, LAST_PAUSE_SECONDS]
    pauses = []
    for _ in expected:
        poller._failed(OSError("refused"))
        pauses.append(poller._next_pause())

    assert FIRST_PAUSE_SECONDS == expected[0]
    assert [] == [(p, w) for p, w in zip(pauses, expected, strict=True) if not 0.8 * w <= p <= 1.2 * w]

    poller._succeeded(ServerStats(97))

    assert INTERVAL == poller._next_pause()


def test_each_kind_is_told_once_in_an_outage(poller: Poller, caplog: pytest.LogCaptureFixture) -> None:
    """Errors that take turns fill no log; the next outage is told anew."""
    caplog.set_level(logging.INFO)
    for _ in range(3):
        poller._failed(OSError("refused"))
        poller._failed(TimeoutError("late"))
    poller._succeeded(ServerStats(97))
    poller._succeeded(ServerStats(97))
    poller._failed(OSError("refused"))
    told = [line.removeprefix("probe: postgresql at db:5432 ") for line in lines(caplog)]

    assert [
        "cannot be looked at (connect): OSError: refused",
        "cannot be looked at (timeout): TimeoutError: late",
        "answers again",
        "cannot be looked at (connect): OSError: refused",
    ] == told
    assert (4, 3) == (poller.state.errors["connect"], poller.state.errors["timeout"])


def test_first_success_is_no_news(poller: Poller, caplog: pytest.LogCaptureFixture) -> None:
    """All is well is no line."""
    caplog.set_level(logging.INFO)
    poller._succeeded(ServerStats(97))

    assert [] == lines(caplog)


def test_error_that_cannot_be_printed(poller: Poller, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted and told by its class."""
    poller._failed(Unprintable())

    assert 1 == poller.state.errors["other"]
    assert ["probe: postgresql at db:5432 cannot be looked at (other): Unprintable:"] == lines(caplog)


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [asyncio.CancelledError(), Unprintable()], ids=["cancelled", "unprintable"])
async def test_nothing_ends_a_poller_but_its_stop(
    poller: Poller, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """A cancellation out of a driver, which nobody asked for, is a failure like any other."""

    async def fails() -> ServerStats:
        raise error

    monkeypatch.setattr(poller, "_look", fails)
    stop = asyncio.Event()
    await poller._turn(stop)

    assert 1 == poller.state.errors["other"]

    stop.set()
    with pytest.raises(type(error)):
        await poller._turn(stop)


def test_names_are_bounded_at_each_look(poller: Poller) -> None:
    """What is counted has never more names than there are places, and the backends are kept for the join."""
    backends = tuple(Backend(pid, 0.0, f"app{pid}", "x", "idle") for pid in range(1000))
    look = poller._bounded(ServerStats(97, backends))

    assert 51 == len(look.connections)
    assert 1000 == sum(states["idle"] for states in look.connections.values())
    assert backends == look.backends
