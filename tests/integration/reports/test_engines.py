"""Engines that are made for each request, copied with options, or used for two-phase transactions."""

import gc

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from pool_exporter import instrument
from pool_exporter.runtime.all_pools import instrument_all
from pool_exporter.runtime.instrumentation import snapshot
from tests.fixtures.postgres import postgres_server
from tests.integration.instrumented import begin, instrumented
from tests.integration.reports.replays import replay
from tests.pools import Database


@replay("A17")
def test_a17_engine_for_each_request() -> None:
    """What twelve scrapes add up, as Prometheus' increase() does, is what the drivers opened."""
    database = Database()
    with instrument_all():
        first = before = {pool.name: pool.connects for pool in snapshot().pools}
        opened = increase = 0
        for number in range(240):
            database.engine(QueuePool).connect().close()
            opened += 1
            if number % 20 == 19:
                gc.collect()
                now = {pool.name: pool.connects for pool in snapshot().pools}
                increase += sum(now[name] - before.get(name, 0) for name in now)
                before = now

    assert 240 == opened == increase == sum(before.values()) - sum(first.values())


@replay("A38")
def test_a38_option_engine_and_two_phase() -> None:
    """An engine with options is the same pool, and a two-phase transaction one checkout."""
    with postgres_server(max_prepared_transactions=5) as server, instrumented(server) as pool:
        copy = pool.engine.execution_options(isolation_level="AUTOCOMMIT")
        assert pool.monitor is instrument(copy)
        with copy.connect() as connection:
            begin(connection)
        with pool.engine.connect() as connection:
            transaction = connection.begin_twophase()
            connection.execute(sa.text("select 1"))
            transaction.prepare()
            transaction.commit()

        pool.agree()
        assert (2, 1, 1) == (pool.now().checkouts, pool.now().connects, pool.now().idle)
