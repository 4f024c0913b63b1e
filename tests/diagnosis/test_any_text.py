"""Files, functions and threads may have any names: a report has them as text that each output can encode."""

from collections.abc import Iterator
from dataclasses import astuple
from queue import Queue
from threading import Event, Thread
from types import FunctionType

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

import pool_exporter
from pool_exporter.diagnosis.texts.pool_report import pool_report
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.reports.process_report import PoolReport

HALF = "\udc80"


def hold(engine: sa.Engine, taken: "Queue[None]", end: Event) -> None:
    """Keep a connection until the end."""
    with engine.connect():
        taken.put(None)
        end.wait(60)


@pytest.fixture(name="made")
def _made() -> Iterator[Diagnosis]:
    """A diagnosis of a pool whose only connection is held by code, in a file and by a thread with half a surrogate."""
    engine = sa.create_engine("sqlite://", poolclass=QueuePool, pool_size=1, max_overflow=0)
    monitor = pool_exporter.instrument(engine, name="any text")
    taken, end = Queue[None](), Event()
    strange = FunctionType(hold.__code__.replace(co_filename=f"/srv/app/{HALF}.py"), globals())
    thread = Thread(target=strange, args=(engine, taken, end), name=f"job {HALF}")
    thread.start()
    taken.get(timeout=60)
    yield monitor.diagnose()
    end.set()
    thread.join()
    engine.dispose()


def test_values_of_a_report_can_be_encoded(made: Diagnosis) -> None:
    """Places and owners have `?` for what UTF-8 does not have, and so have the texts that are made of them."""
    (holder,) = made.holders
    report = pool_report(PoolIdentity("orders"), made)

    assert "job ?" == holder.owner
    assert holder.place.startswith("app/?.py:")
    assert holder.now[0].startswith("app/?.py:")
    assert isinstance(report, PoolReport)
    assert HALF not in repr(astuple(report)) + str(made)
