"""The activity of a stack: the first frame of SQLAlchemy that decides, from the innermost outwards."""

from pathlib import Path

import pytest
import sqlalchemy

from pool_exporter.diagnosis.activity import activity_of
from pool_exporter.diagnosis.frames import Frame
from pool_exporter.metrics.holders import ACTIVITIES

SQLALCHEMY = Path(sqlalchemy.__file__).parent

FILES = {
    "app": "/srv/orders/api.py",
    "lib": "/venv/site-packages/psycopg/cursor.py",
    "std": "<frozen selectors>",
    "default": f"{SQLALCHEMY}/engine/default.py",
    "base": f"{SQLALCHEMY}/engine/base.py",
    "cursor": f"{SQLALCHEMY}/engine/cursor.py",
    "result": f"{SQLALCHEMY}/engine/result.py",
    "pool": f"{SQLALCHEMY}/pool/impl.py",
    "pool_base": f"{SQLALCHEMY}/pool/base.py",
    "queue": f"{SQLALCHEMY}/util/queue.py",
    "events": f"{SQLALCHEMY}/event/attr.py",
    "legacy": f"{SQLALCHEMY}/event/legacy.py",
    "adapter": f"{SQLALCHEMY}/dialects/postgresql/asyncpg.py",
}


def frame(text: str) -> Frame:
    """Return the frame of a function, written as its file and its name: "app.handler"."""
    file, name = text.split(".")
    return (lambda: None).__code__.replace(co_filename=FILES[file], co_name=name), 0


@pytest.mark.parametrize(
    ("functions", "expected"),
    [
        ("app.handler", ("own_code", 0)),
        ("lib.send app.handler", ("own_code", 0)),
        ("std.select", ("unknown", 0)),
        ("", ("unknown", 0)),
        ("lib.execute default.do_execute base.execute app.handler", ("executing", 1)),
        ("lib.executemany default.do_executemany app.handler", ("executing", 1)),
        ("lib.commit default.do_commit app.handler", ("executing", 1)),
        ("lib.rollback default.do_rollback pool_base._reset app.handler", ("executing", 1)),
        ("lib.ping default.do_ping pool_base._checkout app.handler", ("executing", 1)),
        ("lib.wait adapter.execute default.do_execute app.handler", ("executing", 2)),
        ("app.sqlite_function default.do_execute app.handler", ("executing", 1)),
        ("lib.fetch cursor.fetchmany result.partitions app.handler", ("executing", 1)),
        ("app.process_result_value result.fetchmany app.handler", ("own_code", 0)),
        ("app.listener events.__call__ base.execute app.handler", ("own_code", 0)),
        ("app.listener events.__call__ pool._do_get app.handler", ("own_code", 0)),
        ("app.listener legacy.wrap_leg pool._do_get app.handler", ("own_code", 0)),
        ("lib.execute default.do_execute app.listener events.__call__ app.handler", ("executing", 1)),
        ("std.wait pool._do_get pool_base.connect app.handler", ("waiting_for_pool", 1)),
        ("std.wait queue.get pool._do_get app.handler", ("waiting_for_pool", 1)),
        ("lib.connect pool_base.__connect pool._do_get app.handler", ("opening", 1)),
        ("lib.execute default.do_execute pool_base.__connect pool._do_get app.handler", ("opening", 2)),
        ("app.listener events.__call__ pool_base.__connect app.handler", ("opening", 2)),
        ("base.begin app.handler", ("own_code", 0)),
        ("app.do_execute", ("own_code", 0)),
        ("app._do_get app.__connect", ("own_code", 0)),
    ],
)
def test_activity(functions: str, expected: tuple[str, int]) -> None:
    """Each rule decides, and the frames further in than the deciding one are of the driver or the pool."""
    found = activity_of(tuple(map(frame, functions.split())))

    assert expected == found
    assert found[0] in ACTIVITIES
