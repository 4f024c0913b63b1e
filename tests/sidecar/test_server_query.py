"""A query of database servers: one at a time, once in a while, and no page waits for it."""

import threading

import pytest

from pool_exporter.sidecar.server_query import ServerQuery


def query(now: list[float]) -> ServerQuery:
    """Return a query that may begin every ten seconds of *now*."""
    return ServerQuery("query", 10.0, lambda: now[0])


def test_next_query_begins_after_a_while() -> None:
    """A query begins at once, and the next one when the time is over."""
    now, begun = [100.0], list[float]()
    servers = query(now)
    for now[0] in (100.0, 109.9, 110.0):
        servers.start(lambda: begun.append(now[0]))
        servers.wait(60)

    assert [100.0, 110.0] == begun


def test_one_query_at_a_time() -> None:
    """A query that is not done keeps the next one from its begin, however long it takes."""
    now, begun, release = [100.0], list[float](), threading.Event()

    def hang() -> None:
        begun.append(now[0])
        release.wait(60)

    servers = query(now)
    for now[0] in (100.0, 200.0):
        servers.start(hang)
    release.set()
    servers.wait(60)

    assert [100.0] == begun


def test_page_goes_on_without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started, there is no query and no error; a later one begins."""
    now, begun = [100.0], list[float]()
    servers = query(now)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_thread)
        servers.start(lambda: begun.append(now[0]))
        servers.wait(60)
    now[0] = 110.0
    servers.start(lambda: begun.append(now[0]))
    servers.wait(60)

    assert [110.0] == begun


def no_thread(_: threading.Thread) -> None:
    """Fail as a system does that allows no further thread."""
    raise RuntimeError("can't start new thread")
