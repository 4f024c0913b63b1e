"""What a process knows of its own pools for its page and its reports: findings of `check`, and ages."""

import gc
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine, create_engine

import pool_exporter
from pool_exporter.advice.checks.finding import Finding
from pool_exporter.environment import Environment
from pool_exporter.hook_errors import errors
from pool_exporter.runtime.checking import own_pools, pool_findings
from pool_exporter.runtime.checking.own_pools import ages_of_own_pools, own_checker
from pool_exporter.runtime.checking.pool_findings import findings_by_rule
from pool_exporter.runtime.instrumentation import snapshot
from pool_exporter.runtime.monitor import Monitor
from tests.pools import measured

PASSWORD = "hunter2"
NOTHING_SET = Environment()
URL = f"postgresql+psycopg://app:{PASSWORD}@db.internal/shop"


@pytest.fixture(name="monitor")
def _monitor() -> Iterator[Monitor]:
    engine = create_engine(URL)
    with pool_exporter.instrument(engine, "orders") as monitor:
        yield monitor
    engine.dispose()


def found(name: str = "orders", environment: Environment = NOTHING_SET) -> tuple[Finding, ...]:
    """Return what the page of this process says of a pool."""
    taken = snapshot()
    (pool,) = (each for each in taken.pools if each.name == name)
    return own_checker(environment, taken)(pool)


def test_it_is_what_check_finds(monitor: Monitor) -> None:
    """The page has what `check()` says of the engine, with what only the engine knows."""
    engine = measured(monitor).engine()
    assert isinstance(engine, Engine)

    assert pool_exporter.check(engine) == found()
    assert {"P04", "P12", "P20", "P22"} == {each.id for each in found()}
    assert PASSWORD not in "".join(map(str, found()))


def test_pools_of_one_database(monitor: Monitor) -> None:
    """Another pool of the same server and database is named; one of another database is not."""
    others = [create_engine(URL), create_engine(URL + "2")]
    monitors = [pool_exporter.instrument(engine, name) for engine, name in zip(others, "ab", strict=True)]
    messages = [each.message for each in found() if each.id == "P08"]
    for each in monitors:
        each.close()

    assert ["Other pools of this process have the same server and database: a."] == [text[:65] for text in messages]


def test_a_pool_of_another_process(monitor: Monitor) -> None:
    """A pool that is not of this process is judged by its snapshot: its connect arguments are not known."""
    taken = snapshot()
    pool = next(each for each in taken.pools if each.name == "orders")
    other = replace(pool, identity=replace(pool.identity, service="billing"))

    assert {"P04", "P12"} == {each.id for each in own_checker(NOTHING_SET, taken)(other)}


def test_an_engine_is_not_kept_alive() -> None:
    """The monitor knows its engine only while the application has it."""
    engine = create_engine("sqlite://")
    monitor = measured(pool_exporter.instrument(engine))
    before = (monitor.engine(), monitor.pool)

    assert (engine, engine.pool) == before
    del engine, before
    gc.collect()
    assert (None, None) == (monitor.engine(), monitor.pool)
    monitor.close()


def test_a_pool_without_an_engine() -> None:
    """Of a pool that was instrumented alone, the pool's settings are checked."""
    engine = create_engine("sqlite:///a.db", pool_reset_on_return=None)
    with pool_exporter.instrument(engine.pool, "alone") as monitor:
        assert measured(monitor).engine() is None
        assert {"P24"} == {each.id for each in found("alone")}


def test_silenced_rules(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """POOL_EXPORTER_SILENCE counts for the page, for reports and for `check()`."""
    monkeypatch.setenv("POOL_EXPORTER_SILENCE", "P04,p22")
    environment = Environment.lenient()
    engine = measured(monitor).engine()
    assert isinstance(engine, Engine)

    assert {"P12", "P20"} == {each.id for each in found("orders", environment)}
    assert {"P12", "P20"} == set(findings_by_rule(environment, monitor))
    assert {"P20"} == {each.id for each in pool_exporter.check(engine, silence=["P12"])}


def test_variables_of_libpq(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """With PGAPPNAME and PGCONNECT_TIMEOUT, the page, reports and `check()` miss neither a name nor a time limit."""
    monkeypatch.setenv("PGAPPNAME", "shop")
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "5")
    environment = Environment.lenient()
    engine = measured(monitor).engine()
    assert isinstance(engine, Engine)

    assert {"P04", "P12"} == {each.id for each in found("orders", environment)}
    assert {"P04", "P12"} == set(findings_by_rule(environment, monitor))
    assert {"P04", "P12"} == {each.id for each in pool_exporter.check(engine)}


def test_sentences_for_reports(monitor: Monitor) -> None:
    """A report names the rule, what is wrong, what to do, and the command that says more of the rule."""
    said = findings_by_rule(NOTHING_SET, monitor)["P20"]

    assert said.startswith("Check P20: psycopg has no time limit for opening a connection. ")
    assert said.endswith("More: pool-exporter check --explain P20")
    assert "Fix: Set connect_timeout" in said


def test_what_has_ended_has_no_findings() -> None:
    """The reports of a pool that has ended name nothing."""
    monitor = pool_exporter.instrument(create_engine("sqlite://"))
    gc.collect()

    assert {} == findings_by_rule(NOTHING_SET, monitor)
    monitor.close()


def test_a_rule_that_fails_costs_only_itself(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read is not known: the rest is found, an error of a hook is counted, and nothing raises."""
    before = errors.count

    def fail(*_: object) -> None:
        raise RuntimeError("no history")

    monkeypatch.setattr(pool_findings, "history_of", fail)
    monkeypatch.setattr(pool_findings, "made_within_a_minute", fail)
    said = findings_by_rule(NOTHING_SET, monitor)
    monkeypatch.setattr(pool_findings, "engine_facts", fail)

    assert {"P04", "P12", "P20", "P22"} == set(said)
    assert {} == findings_by_rule(NOTHING_SET, monitor)
    assert errors.count >= before + 3


def test_ages(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool has counted since it was instrumented; where workers count together, no age is known."""
    ages = ages_of_own_pools()
    monkeypatch.setattr(own_pools, "registry", _Shared())

    assert 0 < ages[monitor.identity] <= time.monotonic()
    assert {} == ages_of_own_pools()


class _Shared:
    """A registry with a shared directory."""

    class storage:  # noqa: N801  # it stands in for an attribute
        has_file = True
