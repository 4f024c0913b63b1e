"""Services with the faults that exhaust a pool, each on a pool of its own: for WSGI, ASGI and Celery.

A line at fault ends in a comment with the name of the fault. `Silent` stands for another service that does not answer.
"""

import socket
from typing import Final

from tests.integration.reports.programs import CELERY_APPLICATION

_SYNC: Final = """
import os, time, urllib.request
import sqlalchemy as sa
import pool_exporter

SELECT = sa.text("select 1")
HOLDERS = int(os.environ["HOLDERS"])  # How many connections can be held at once by the requests of a worker.
kept = []

def engine_of(name, size):
    engine = sa.create_engine(os.environ["DATABASE"], pool_size=size, max_overflow=0, pool_timeout=2)
    pool_exporter.instrument(engine, name=name)
    return engine

engines = {name: engine_of(name, size) for name, size in (("leak", 2), ("external", HOLDERS), ("nested", HOLDERS))}

def leak():
    connection = engines["leak"].connect()  # leak
    connection.execute(SELECT)
    kept.append(connection)

def external():
    with engines["external"].connect() as connection:
        connection.execute(SELECT)
        urllib.request.urlopen(os.environ["SILENT"], timeout=60)  # external

def nested():
    with engines["nested"].connect() as connection:
        connection.execute(SELECT)
        time.sleep(0.5)
        write_audit()  # nested

def write_audit():
    with engines["nested"].connect() as connection:
        connection.execute(SELECT)

work = {"leak": leak, "external": external, "nested": nested}
"""

WSGI: Final = (
    _SYNC
    + """
def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    environ["pool_exporter.route"] = environ["PATH_INFO"]
    if name:
        work[name]()
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"ok"]

app = pool_exporter.WsgiUnitMiddleware(application)
"""
)

CELERY: Final = (
    _SYNC
    + CELERY_APPLICATION
    + """
pool_exporter.CeleryUnits().install()
for name, function in work.items():
    app.task(function, name="shop." + name)
"""
)

ASGI: Final = """
import asyncio, os, time
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
import pool_exporter

SELECT = sa.text("select 1")
kept = []

def engine_of(name):
    engine = create_async_engine(os.environ["ASYNC_DATABASE"], pool_size=2, max_overflow=0, pool_timeout=2)
    pool_exporter.instrument(engine, name=name)
    return engine

engines = {name: engine_of(name) for name in ("leak", "external", "nested", "blocked")}

async def leak(request):
    connection = await engines["leak"].connect()  # leak
    await connection.execute(SELECT)
    kept.append(connection)
    return PlainTextResponse("ok")

async def external(request):
    async with engines["external"].connect() as connection:
        await connection.execute(SELECT)
        await call_service()
    return PlainTextResponse("ok")

async def call_service():
    reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ["SILENT"].rsplit(":", 1)[1].strip("/")))
    await reader.read()  # external

async def nested(request):
    async with engines["nested"].connect() as connection:
        await connection.execute(SELECT)
        await asyncio.sleep(0.5)
        await write_audit()  # nested
    return PlainTextResponse("ok")

async def write_audit():
    async with engines["nested"].connect() as connection:
        await connection.execute(SELECT)

async def blocked(request):
    async with engines["blocked"].connect() as connection:
        await connection.execute(SELECT)
        hash_password()
    return PlainTextResponse("ok")

def hash_password():
    time.sleep(1)  # blocked

async def index(request):
    return PlainTextResponse("ok")

routes = [Route("/" + each.__name__, each) for each in (leak, external, nested, blocked)] + [Route("/", index)]
app = pool_exporter.UnitMiddleware(Starlette(routes=routes))
"""

VERDICTS: Final = {
    "leak": "leak",
    "external": "held_in_own_code",
    "nested": "self_deadlock",
    "blocked": "loop_blocked",
}


def culprit(program: str, fault: str) -> str:
    """Return the line at fault as reports name it: "service.py:9"."""
    [line] = [number for number, text in enumerate(program.splitlines(), 1) if text.endswith(f"# {fault}")]
    return f"service.py:{line}"


class Silent:
    """A service that takes connections and never answers, until it is closed."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=100)

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}/"

    def close(self) -> None:
        """End it: its callers get an error."""
        self._listening.close()
