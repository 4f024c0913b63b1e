"""A poller's own part, without a server: pauses that grow, lines that do not repeat, errors of any shape."""

import asyncio
import logging
import time

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

    poller._succeeded(ServerStats(97), 0.0)

    assert INTERVAL == poller._next_pause()


def test_each_error_type_is_logged_once_in_an_outage(poller: Poller, caplog: pytest.LogCaptureFixture) -> None:
    """Alternating errors are logged once each in an outage; the next outage is logged again."""
    caplog.set_level(logging.INFO)
    for _ in range(3):
        poller._failed(OSError("refused"))
        poller._failed(TimeoutError("late"))
    poller._succeeded(ServerStats(97), 0.0)
    poller._succeeded(ServerStats(97), 0.0)
    poller._failed(OSError("refused"))
    logged = [line.removeprefix("probe: postgresql at db:5432 ") for line in lines(caplog)]

    assert [
        "cannot be queried (connect): OSError: refused",
        "cannot be queried (timeout): TimeoutError: late",
        "answers again",
        "cannot be queried (connect): OSError: refused",
    ] == logged
    assert (4, 3) == (poller.state.errors["connect"], poller.state.errors["timeout"])


def test_first_success_is_no_news(poller: Poller, caplog: pytest.LogCaptureFixture) -> None:
    """All is well is no line."""
    caplog.set_level(logging.INFO)
    poller._succeeded(ServerStats(97), 0.0)

    assert [] == lines(caplog)


def test_times_of_a_query_enclose_the_answer(poller: Poller, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server answered was true at some time between the two."""
    answered: list[float] = []

    async def query() -> ServerStats:
        answered.append(time.monotonic())
        return ServerStats(97)

    monkeypatch.setattr(poller, "_query", query)
    before = time.monotonic()
    asyncio.run(poller._query_once(asyncio.Event()))

    assert before <= poller.state.began <= answered[0] <= poller.state.taken


def test_error_that_cannot_be_printed(poller: Poller, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted, and logged by its class."""
    poller._failed(Unprintable())

    assert 1 == poller.state.errors["other"]
    assert ["probe: postgresql at db:5432 cannot be queried (other): Unprintable:"] == lines(caplog)


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [asyncio.CancelledError(), Unprintable()], ids=["cancelled", "unprintable"])
async def test_nothing_ends_a_poller_but_its_stop(
    poller: Poller, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """A cancellation that comes out of a driver is a failure like any other."""

    async def fails() -> ServerStats:
        raise error

    monkeypatch.setattr(poller, "_query", fails)
    stop = asyncio.Event()
    await poller._query_once(stop)

    assert 1 == poller.state.errors["other"]

    stop.set()
    with pytest.raises(type(error)):
        await poller._query_once(stop)


def test_names_are_limited_at_each_query(poller: Poller) -> None:
    """No more names than the limit are counted; the backends are kept for the matching."""
    backends = tuple(Backend(pid, 0.0, f"app{pid}", "x", "idle") for pid in range(1000))
    look = poller._bounded(ServerStats(97, backends))

    assert 51 == len(look.connections)
    assert 1000 == sum(states["idle"] for states in look.connections.values())
    assert backends == look.backends
