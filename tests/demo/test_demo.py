"""The demo's parts: a service that works and loses what it should, its database, its clients, scenes and words."""

import asyncio
import gc
import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from httpx import ASGITransport, AsyncClient
from pydantic import SecretStr
from sqlalchemy.exc import SAWarning
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, StaticPool
from sqlmodel.ext.asyncio.session import AsyncSession

from pool_exporter import Monitor, instrument
from pool_exporter.demo import run
from pool_exporter.demo.database import Database
from pool_exporter.demo.database_settings import DatabaseSettings
from pool_exporter.demo.load import USERS, Clients, Load, Tally, browse, sign_up
from pool_exporter.demo.models import User, create_tables
from pool_exporter.demo.output import json_lines, terminal
from pool_exporter.demo.rounds import Rounds
from pool_exporter.demo.run import _address, _listening
from pool_exporter.demo.scenes import CLIENTS_MAX, RESTARTING, SCENES, Stage
from pool_exporter.demo.service import SessionDep, create_app, get_session
from pool_exporter.errors import SettingsError
from pool_exporter.metrics.pool_metrics import EXPORTER_METRICS, POOL_METRICS
from tests.fixtures.frozen_loop import advance, frozen, turns
from tests.golden import SNAPSHOT
from tests.pools import measured

ANNA = {"name": "Anna", "email": "anna@example.com"}
TEA = {"user_id": 1, "item": "tea", "quantity": 3, "price_cents": 250}


@pytest.fixture(name="database")
def _database(tmp_path: Path) -> Database:
    return Database.choose(DatabaseSettings(), tmp_path)


@pytest.fixture(name="app")
def _app(database: Database) -> Iterator[FastAPI]:
    app = create_app(database.engine())
    yield app
    app.state.monitor.close()


@pytest.fixture(name="client")
def _client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


@pytest.fixture(name="monitor")
def _monitor(app: FastAPI) -> Monitor:
    monitor: Monitor = app.state.monitor
    return monitor


@pytest.fixture(name="no_wait")
def _no_wait(tmp_path: Path) -> Iterator[TestClient]:
    """A service with one connection, and a timeout of 0."""
    database = Database.choose(DatabaseSettings(pool_size=1, max_overflow=0, pool_timeout=0), tmp_path)
    app = create_app(database.engine())
    with TestClient(app) as client:
        yield client
    app.state.monitor.close()


# The service, with the test client that its authors would use.


def test_a_user_orders(client: TestClient) -> None:
    """Orders are stored and add up, each by itself and for the user."""
    assert (201, {"id": 1, **ANNA}) == _answer(client, "POST", "/users", ANNA)
    assert (201, {"id": 1, **TEA, "total_cents": 750}) == _answer(client, "POST", "/orders", TEA)
    assert (201, {"id": 2, **TEA, "quantity": 1, "total_cents": 250}) == _answer(
        client, "POST", "/orders", {**TEA, "quantity": 1}
    )
    assert (200, {"id": 1, **TEA, "total_cents": 750}) == _answer(client, "GET", "/orders/1")
    assert (200, {"user": {"id": 1, **ANNA}, "orders": 2, "total_cents": 1000}) == _answer(client, "GET", "/users/1")
    assert (200, {"orders": 2, "total_cents": 1000}) == _answer(client, "GET", "/report?seconds=0")


def test_users_come_in_pages(client: TestClient) -> None:
    """A list has the requested length and offset."""
    for number in range(3):
        client.post("/users", json={"name": f"U{number}", "email": f"u{number}@example.com"})

    assert ["U0", "U1", "U2"] == [user["name"] for user in client.get("/users").json()]
    assert ["U1"] == [user["name"] for user in client.get("/users?offset=1&limit=1").json()]


def test_an_address_is_taken_once(client: TestClient, monitor: Monitor) -> None:
    """A second user with the same address is refused, the session is rolled back and its connection returned."""
    client.post("/users", json=ANNA)

    assert (409, {"detail": "the address is taken"}) == _answer(client, "POST", "/users", ANNA)
    assert 1 == len(client.get("/users").json())
    assert 0 == monitor.snapshot().used


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "/users/7", None), ("GET", "/orders/7", None), ("POST", "/orders", TEA), ("DELETE", "/exports/7", None)],
    ids=["user", "order", "order of no user", "export"],
)
def test_what_is_not_there_is_not_found(
    client: TestClient, method: str, path: str, body: dict[str, object] | None
) -> None:
    """Asking for what does not exist is 404, with what it was."""
    status, answer = _answer(client, method, path, body)

    assert (404, True) == (status, str(answer).startswith("{'detail': 'there is no "))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/users", {**ANNA, "email": "nowhere"}),
        ("POST", "/users", {**ANNA, "name": ""}),
        ("POST", "/orders", {**TEA, "quantity": 0}),
        ("POST", "/orders", {**TEA, "price_cents": -1}),
        ("GET", "/users?limit=101", None),
        ("GET", "/report?seconds=6", None),
    ],
    ids=["email", "name", "quantity", "price", "limit", "seconds"],
)
def test_nonsense_is_refused(client: TestClient, method: str, path: str, body: dict[str, object] | None) -> None:
    """What no user or order can be is 422, and nothing is stored."""
    status, _ = _answer(client, method, path, body)

    assert (422, []) == (status, client.get("/users").json())


def test_a_report_uses_the_database_for_the_requested_time(client: TestClient, monitor: Monitor) -> None:
    """The slow query is slow in the database, while a connection is used."""
    before = measured(monitor).snapshot().use_time.sum
    client.get("/report?seconds=0.05")

    assert 0.05 <= measured(monitor).snapshot().use_time.sum - before < 60


def test_every_request_takes_one_connection_and_returns_it(client: TestClient, monitor: Monitor) -> None:
    """Beside the two bugs, the service is what it should be: one checkout for a request, none kept."""
    before = measured(monitor).snapshot().checkouts
    for path in ("/users", "/users/1", "/orders/1", "/report?seconds=0"):
        client.get(path)

    assert (4, 0) == (measured(monitor).snapshot().checkouts - before, measured(monitor).snapshot().used)


def test_an_exhausted_pool_is_unavailable(no_wait: TestClient) -> None:
    """A request that gets no connection in time is a 503, and counted as a timeout."""
    no_wait.post("/exports")

    assert (503, {"detail": "TimeoutError"}) == _answer(no_wait, "GET", "/users")
    assert 1 == no_wait.app.state.monitor.snapshot().timeouts  # type: ignore[attr-defined]  # it is a FastAPI


def test_an_error_rolls_back(app: FastAPI) -> None:
    """What a request has written and not committed when it fails is gone."""

    @app.post("/half")
    async def half(session: SessionDep) -> None:
        session.add(User(**ANNA))
        await session.flush()
        raise HTTPException(418)

    with TestClient(app) as client:
        assert (418, []) == (client.post("/half").status_code, client.get("/users").json())


def test_the_pages_are_there(client: TestClient) -> None:
    """The service has its own documentation, and the exporter's metrics, health and page with the pool on it."""
    page, metrics = client.get("/"), client.get("/metrics")

    paths = ("/docs", "/-/healthy", "/-/ready", "/", "/-/pools.json", "/-/runbooks/SQLAlchemyPoolTimeouts")
    assert [200] * len(paths) == [client.get(path).status_code for path in paths]
    assert "demo" in page.text  # With pools of other tests it is a row of a table, alone it has a section.
    assert "demo" in [pool["pool"]["name"] for pool in client.get("/-/pools.json").json()["pools"]]
    assert 'db_client_connection_max{db_client_connection_pool_name="demo"' in metrics.text
    assert [404, 405] == [client.get("/nothing").status_code, client.delete("/users").status_code]


# The two bugs of the service.


def test_an_export_keeps_its_connection_until_it_is_ended(client: TestClient, monitor: Monitor) -> None:
    """The request that began an export is finished and holds a connection: an orphan, until it is ended."""
    export = client.post("/exports").json()
    held = measured(monitor).snapshot()
    ended = client.delete(f"/exports/{export['id']}").status_code
    after = monitor.snapshot()

    assert (1, 1, True) == (held.used, held.orphaned, held.oldest_use_seconds > 0)
    assert (204, 0, 0, 0.0) == (ended, after.used, after.orphaned, after.oldest_use_seconds)


def test_the_end_of_the_service_ends_its_exports(app: FastAPI, monitor: Monitor) -> None:
    """After the lifespan no connection is open."""
    with TestClient(app) as client:
        client.post("/exports")
        client.post("/exports")
    after = measured(monitor).snapshot()

    assert (0, 2) == (after.open, after.closes["dispose"])


def test_statistics_lose_a_connection(client: TestClient, monitor: Monitor) -> None:
    """A connection that was never closed counts as leaked when the garbage collector finds it."""
    answer = client.get("/stats").json()
    assert client.portal is not None
    with pytest.warns(SAWarning, match="garbage collector"):
        # Where the service runs: aiosqlite asks for the thread's event loop, and would make one here.
        client.portal.call(gc.collect)
    for thread in threading.enumerate():
        if "_connection_worker_thread" in thread.name:
            thread.join(10)  # It tells the event loop when it is done, which would be gone.

    assert ({"orders": 0}, 1, 0) == (answer, monitor.snapshot().leaked, monitor.snapshot().used)


# Services' own test tooling, while their engine is instrumented.


@pytest.fixture(name="in_memory")
def _in_memory() -> AsyncEngine:
    """The engine that services' tests are run on: one connection, which is the database."""
    engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
    instrument(engine, name="in memory")
    return engine


def test_a_dependency_can_be_overridden(app: FastAPI, in_memory: AsyncEngine) -> None:
    """Under an override, requests go to the other engine, and each pool counts its own."""

    async def other_session() -> AsyncIterator[AsyncSession]:
        await create_tables(in_memory)
        async with AsyncSession(in_memory, expire_on_commit=False) as session:
            yield session

    app.dependency_overrides[get_session] = other_session
    own, other = app.state.monitor, instrument(in_memory)
    with TestClient(app) as client:
        assert (201, 201) == (
            client.post("/users", json=ANNA).status_code,
            client.post("/orders", json=TEA).status_code,
        )
        assert (1, 4, 0) == (own.snapshot().checkouts, other.snapshot().checkouts, other.snapshot().used)
        client.portal.call(in_memory.dispose)


@pytest.mark.asyncio
async def test_an_app_on_an_engine_in_memory_works_without_a_server(in_memory: AsyncEngine) -> None:
    """The service runs on a StaticPool, called through httpx's ASGI transport, and its one connection is counted."""
    app = create_app(in_memory)
    transport = ASGITransport(app)
    async with app.router.lifespan_context(app), AsyncClient(transport=transport, base_url="http://demo") as client:
        created = await client.post("/users", json=ANNA)
        read = await client.get("/users/1")
        during = app.state.monitor.snapshot()
    after = app.state.monitor.snapshot()

    assert (201, 200, "Anna") == (created.status_code, read.status_code, read.json()["user"]["name"])
    assert (1, 1, 0) == (during.open, during.connects, after.open)


def _answer(client: TestClient, method: str, path: str, body: object = None) -> tuple[int, object]:
    response = client.request(method, path, json=body)
    return response.status_code, response.json()


# The database.


def test_without_settings_there_is_a_small_pool_on_a_file(database: Database, tmp_path: Path) -> None:
    """The demo's own database is a file in its own directory, with a pool that can be exhausted."""
    pool = {"poolclass": AsyncAdaptedQueuePool, "pool_size": 4, "max_overflow": 2, "pool_timeout": 1.0}

    assert (pool, True, False) == (database.arguments, database.is_own, database.can_restart)
    assert [tmp_path / "demo.sqlite3"] == [path for path in tmp_path.iterdir() if path.suffix == ".sqlite3"]


def test_settings_win(tmp_path: Path) -> None:
    """What the environment says of the pool is what the pool has."""
    settings = DatabaseSettings(pool_size=7, max_overflow=0, pool_timeout=9)
    arguments = Database.choose(settings, tmp_path).arguments

    assert (7, 0, 9) == (arguments["pool_size"], arguments["max_overflow"], arguments["pool_timeout"])


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_connections_have_a_name_of_their_own(driver: str, tmp_path: Path) -> None:
    """Two demos on one server, or a demo and a service of that name, never end each other's connections."""
    settings = DatabaseSettings(database_url=SecretStr(f"postgresql+{driver}://u@h/d?application_name=orders"))
    first, second = Database.choose(settings, tmp_path), Database.choose(settings, tmp_path)
    connect_args: Any = first.arguments.get("connect_args")
    given = first.url.query.get("application_name") or connect_args["server_settings"].get("application_name")

    assert first.application_name == given
    assert 3 == len({"orders", first.application_name, second.application_name})


@pytest.mark.parametrize("url", ["sqlite://", "sqlite+aiosqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_a_database_in_memory_is_refused(url: str, tmp_path: Path) -> None:
    """There is no pool to show where all clients share a connection."""
    with pytest.raises(SettingsError, match="name a file"):
        Database.choose(DatabaseSettings(database_url=SecretStr(url)), tmp_path)


def test_a_users_file_keeps_its_journal_mode(tmp_path: Path) -> None:
    """A database of the user is not changed for good, as it would be by write-ahead logging."""
    path = tmp_path / "own.db"
    database = Database.choose(DatabaseSettings(database_url=SecretStr(f"sqlite:///{path}")), tmp_path)
    with TestClient(create_app(database.engine())) as client:
        client.post("/users", json=ANNA)
    connection = sqlite3.connect(path)
    mode = connection.execute("pragma journal_mode").fetchone()
    connection.close()

    assert (False, ("delete",)) == (database.is_own, mode)


@pytest.mark.asyncio
async def test_a_restart_that_the_server_refuses_says_why(database: Database) -> None:
    """A scene says in one line why it could not be played: SQLite has no such thing."""
    with pytest.raises(ConnectionError, match=r"\Ano such [^\n]*\Z"):
        await database.end_connections()


# The load.


@asynccontextmanager
async def _loaded(app: FastAPI) -> AsyncIterator[Load]:
    async with app.router.lifespan_context(app), Load("http://demo", ASGITransport(app)) as load:
        yield load


@pytest.mark.asyncio
async def test_signing_up_twice_adds_no_user(app: FastAPI) -> None:
    """Users that an earlier demo left are used again, and what that took is not counted."""
    async with _loaded(app) as load:
        await sign_up(load)
        first = load.user_ids
        await sign_up(load)

    assert (list(range(1, USERS + 1)), first, Tally()) == (first, load.user_ids, load.tally)


@pytest.mark.asyncio
async def test_every_fourth_action_is_an_order(app: FastAPI) -> None:
    """The load reads more than it writes, as most do."""
    async with _loaded(app) as load:
        await sign_up(load)
        for _ in range(8):
            await browse(load)
        sums = await load.call("GET", "/report?seconds=0")

    assert {"orders": 2, "total_cents": 1800} == sums


@pytest.mark.asyncio
async def test_failures_are_counted(app: FastAPI) -> None:
    """An error and a service that is not there are failures; neither reaches the caller."""
    async with _loaded(app) as load, Load("http://127.0.0.1:1") as lost:
        answers = [await load.call("GET", "/orders/1"), await lost.call("GET", "/orders/1")]

    assert ([None, None], Tally(1, 1), Tally(1, 1)) == (answers, load.tally, lost.tally)


@frozen
async def test_clients_end_with_a_whole_action() -> None:
    """When their time is over, no action is cut short and none starts."""
    begun, ended, is_over = [], [], asyncio.Event()

    async def act(_: Load) -> None:
        begun.append(1)
        await is_over.wait()
        ended.append(1)

    async with Load("http://demo") as load:
        running = asyncio.ensure_future(load.run(30, Clients(3, act)))
        await turns()
        await advance(45)
        before = running.done(), len(ended)
        is_over.set()
        await running

    assert ((False, 0), [1, 1, 1], [1, 1, 1]) == (before, begun, ended)


@pytest.mark.asyncio
async def test_cancelled_clients_are_gone() -> None:
    """A demo that is stopped leaves no client behind."""

    async def act(_: Load) -> None:
        await asyncio.Event().wait()

    async with Load("http://demo") as load:
        before = asyncio.all_tasks()
        running = asyncio.ensure_future(load.run(60, Clients(3, act)))
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert (True, before) == (running.cancelled(), asyncio.all_tasks())


@pytest.mark.asyncio
async def test_a_fault_of_one_client_ends_all() -> None:
    """An action that raises is a fault of the demo's: it is not hidden, and leaves no client behind."""

    async def wait(_: Load) -> None:
        await asyncio.Event().wait()

    async def raise_fault(_: Load) -> None:
        raise ZeroDivisionError

    async with Load("http://demo") as load:
        before = asyncio.all_tasks()
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(load.run(60, Clients(2, wait), Clients(1, raise_fault)), 10)

    assert before == asyncio.all_tasks()


# Scenes and rounds.


def test_what_to_watch_is_a_metric() -> None:
    """Each name that a scene lists to watch is part of a metric's name."""
    names = [metric.prometheus for metric in (*POOL_METRICS, *EXPORTER_METRICS)]
    lost = [word for scene in SCENES for word in scene.watch if not any(word in name for name in names)]

    assert [] == lost


@pytest.mark.parametrize(("limit", "expected"), [(6, 24), (1, 4), (None, 40), (1000, CLIENTS_MAX)])
def test_clients_are_in_proportion_to_the_pool(limit: int | None, expected: int) -> None:
    """A burst is larger than the pool, but never too large for the machine."""

    async def end_connections() -> int:
        return 0

    assert expected == Stage.of(Load("http://demo"), limit, end_connections).times(4)


def test_a_scene_that_needs_a_server_is_skipped_without(database: Database) -> None:
    """Nothing is played in place of a restart, and the other scenes share its time."""
    rounds = Rounds.of(None, 64, database)
    seconds = {
        scene.name: scene.seconds * rounds._scale() for scene in rounds.scenes if scene.name not in rounds.skipped
    }

    assert (set(RESTARTING), {scene.name for scene in SCENES}) == (set(rounds.skipped), {*seconds, *RESTARTING})
    assert 64 == pytest.approx(sum(seconds.values()))


def test_one_scene_has_all_the_time(database: Database) -> None:
    """`--scene burst --duration 20` is a burst of 20 seconds."""
    rounds = Rounds.of("burst", 20, database)

    assert [("burst", 20.0)] == [(scene.name, scene.seconds * rounds._scale()) for scene in rounds.scenes]


@pytest.mark.asyncio
@pytest.mark.parametrize(("scene", "expected"), [("burst", [run.USUAL_SECONDS]), (None, [])])
async def test_a_scene_alone_follows_what_is_usual(
    scene: str | None, expected: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reports compare with the time before: without it, `--scene burst` would be reported as slow queries."""
    played: list[float] = []

    async def play(_: Stage, seconds: float) -> None:
        played.append(seconds)

    monkeypatch.setattr(run, "play_calm", play)
    await run.begin(Stage(Load("http://demo"), 6, list), scene)  # type: ignore[arg-type]  # no server

    assert expected == played


# Words.


def test_the_banner_says_where_to_look(database: Database) -> None:
    """The first lines have the three addresses, and never a password."""
    url = database.url.set(username="u", password="hidden")
    banner = terminal.banner("http://127.0.0.1:9", url, SNAPSHOT.pools[0])

    assert all(f"http://127.0.0.1:9{path}" in banner for path in ("/metrics", "/\n", "/docs"))
    assert "hidden" not in banner


def test_numbers_are_of_the_scene_alone() -> None:
    """Means and counts are what happened between two snapshots; what did not happen is not mentioned."""
    before = SNAPSHOT.pools[0]
    closes = {**before.closes, "pre_ping": before.closes["pre_ping"] + 3}
    counters = {**before.counters, "closes": closes}
    after = replace(
        before, used_seconds=before.used_seconds + 5, counters=counters, orphaned=2, oldest_use_seconds=7.25
    )
    first, second = terminal.numbers(terminal.Outcome(before, after, Tally(8, 1), 2.0)).splitlines()

    assert "8 requests    1 failed   used  2.50   pending   0.00   wait    0.00 ms" in first
    assert "closed: pre_ping 3, orphaned 2, oldest use 7.2 s" == second.strip()


def test_output_for_programs_is_an_object_a_line(database: Database) -> None:
    """Each text has a counterpart of one JSON object, with an event by which it is known, and never a password."""
    pool, url = SNAPSHOT.pools[0], database.url.set(username="u", password="hidden")
    outcome = terminal.Outcome(pool, replace(pool, used_seconds=pool.used_seconds + 5), Tally(8, 1), 2.0)
    more = json_lines.pushed("http://otlp") + json_lines.fleet([7], Path("/run/pools"), None)
    texts = [
        json_lines.banner("http://127.0.0.1:9", url, pool, more),
        json_lines.announcement(SCENES[0], 2.5),
        json_lines.skipped(SCENES[0], "no"),
        json_lines.report("two\nlines"),
        json_lines.numbers(outcome),
    ]
    found = [json.loads(line) for text in texts for line in text.splitlines()]

    assert ["start", "otlp", "workers", "scene", "skipped", "report", "numbers"] == [each["event"] for each in found]
    assert (8, 1, 2.5, 2.0) == tuple(found[-1][key] for key in ("requests", "failed", "used", "seconds"))
    assert "hidden" not in str(found)
    assert {name for name in vars(json_lines.Texts) if not name.startswith("_")} <= set(vars(terminal))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:"),
        ("0.0.0.0", "http://127.0.0.1:"),  # noqa: S104  # for a moment, and nothing answers
        ("::1", "http://[::1]:"),
    ],
)
def test_addresses_can_be_called(host: str, expected: str) -> None:
    """Whatever is listened on, the address that is shown leads there."""
    with _listening(host, 0) as listener:
        assert f"{expected}{listener.getsockname()[1]}" == _address(listener)
