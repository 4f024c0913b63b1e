"""Each rule finds what it is about, and nothing where its guard holds. Right set-ups have no error."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import QueuePool

from pool_exporter.advice.checks import rules
from pool_exporter.advice.checks.facts import EngineFacts, Facts, PoolHistory, ProcessFacts, ServerFacts
from pool_exporter.advice.checks.finding import SEVERITIES
from pool_exporter.advice.checks.rules import RULES, findings
from pool_exporter.hook_errors import errors

POSTGRES = EngineFacts(
    dialect="postgresql",
    driver="asyncpg",
    host="db.internal",
    port=5432,
    database="shop",
    is_async=True,
    pool_class="AsyncAdaptedQueuePool",
    pool_size=10,
    max_overflow=10,
    timeout_seconds=5,
    recycle_seconds=3600,
    pre_ping=True,
    arguments={"timeout": 10, "server_settings": {"application_name": "shop"}},
)
"""A set-up as SQLAlchemy's and this project's guides have it."""

PSYCOPG = POSTGRES._replace(driver="psycopg", arguments={"connect_timeout": 10, "application_name": "shop"})
MYSQL = POSTGRES._replace(dialect="mysql", driver="aiomysql", port=3306, arguments={"connect_timeout": 10})
SQLITE = EngineFacts("sqlite", "pysqlite", database="shop.db", pool_size=5, max_overflow=10)
MEMORY = SQLITE._replace(database="", is_memory=True, pool_class="StaticPool", pool_size=None, max_overflow=None)
BOUNCER = ServerFacts(is_bouncer=True, pool_mode="transaction")


def facts(engine: EngineFacts = POSTGRES, **changes: object) -> Facts:
    """Return facts about *engine*; each change goes to the part that has a field of its name."""
    found = Facts(engine)
    left = dict(changes)
    for part in ("engine", "history", "server", "process"):
        values = getattr(found, part)
        own = {name: left.pop(name) for name in changes if hasattr(values, name)}
        change = partial(replace, values) if part == "server" else values._replace  # The public one is a dataclass.
        found = found._replace(**{part: change(**own)})
    assert {} == left, "no part has such a field"
    return found


FOUND: dict[str, list[Facts]] = {
    "P01": [facts(connections_max=97, processes=6)],
    "P02": [facts(max_overflow=-1), facts(pool_size=0)],
    "P03": [facts(timeout_seconds=30, waits=3)],
    "P04": [facts(timeout_seconds=30)],
    "P05": [facts(threads=40, used_peak=20)],
    "P07": [facts(verdicts={"threads_deadlock": 1})],
    "P08": [facts(same_server=("shop#2",))],
    "P09": [facts(made_per_minute=6)],
    "P10": [facts(pool_class="NullPool", connects=200, seconds=100.0, create_seconds=0.01)],
    "P11": [facts(pool_class="StaticPool"), facts(pool_class="SingletonThreadPool")],
    "P12": [facts(recycle_seconds=-1, pre_ping=False)],
    "P13": [
        facts(MYSQL._replace(recycle_seconds=-1, pre_ping=False)),
        facts(MYSQL._replace(recycle_seconds=30_000, pre_ping=False)),
        facts(MYSQL._replace(pre_ping=False), settings={"wait_timeout": 600.0}),
    ],
    "P14": [facts(SQLITE)],
    "P15": [facts(MEMORY, processes=4)],
    "P16": [facts(SQLITE._replace(pool_class="StaticPool"))],
    "P17": [facts(port=6432), facts(arguments={"statement_cache_size": 0}, is_bouncer=True, pool_mode="transaction")],
    "P18": [facts(PSYCOPG._replace(port=6432)), facts(PSYCOPG, is_bouncer=True, pool_mode="statement")],
    "P20": [facts(arguments={})],
    "P21": [
        facts(settings={"statement_timeout": 0.0, "idle_in_transaction_session_timeout": 60.0}),
        facts(settings={"idle_in_transaction_session_timeout": 0.0}, arguments={"command_timeout": 30}),
        facts(settings={"statement_timeout": 0.0}, arguments={"command_timeout": None}),
        facts(settings={"statement_timeout": 0.0}, arguments={"timeout": 10}),
    ],
    "P22": [facts(arguments={"timeout": 10, "server_settings": {"jit": "off"}}), facts(PSYCOPG._replace(arguments={}))],
    "P23": [facts(has_echo=True)],
    "P24": [facts(reset_on_return="")],
    "P26": [facts(has_async_sessions=True, expires_on_commit=True)],
    "P27": [facts(PSYCOPG._replace(is_async=False), verdicts={"loop_waits": 1})],
    "P31": [facts(nested=3)],
    "P32": [facts(verdicts={"held_in_own_code": 2})],
    "P33": [facts(discarded=4), facts(MYSQL, discarded=1)],
}

NOT_FOUND: dict[str, list[Facts]] = {
    "P01": [facts(connections_max=97, processes=4), facts(processes=100), facts(max_overflow=-1, connections_max=1)],
    "P02": [facts(SQLITE._replace(max_overflow=-1)), facts(pool_class="NullPool", pool_size=None, max_overflow=None)],
    "P03": [facts(timeout_seconds=30), facts(timeout_seconds=5, waits=3)],
    "P04": [facts(timeout_seconds=30, waits=3), facts(timeout_seconds=29), facts(SQLITE._replace(timeout_seconds=30))],
    "P05": [facts(threads=40, used_peak=3), facts(used_peak=20), facts(threads=20, used_peak=20)],
    "P07": [facts(verdicts={"leak": 1})],
    "P08": [facts(SQLITE, same_server=("other",))],
    "P09": [facts(made_per_minute=5)],
    "P10": [
        facts(pool_class="NullPool", connects=50, seconds=10.0),
        facts(pool_class="NullPool", connects=200, seconds=300.0),
        facts(pool_class="NullPool", connects=200, seconds=100.0, is_bouncer=True),
        facts(pool_class="NullPool", connects=200, seconds=100.0, create_seconds=0.0005),
        facts(SQLITE._replace(pool_class="NullPool"), connects=200, seconds=100.0),
    ],
    "P11": [facts(MEMORY), facts(SQLITE._replace(pool_class="StaticPool"))],
    "P12": [facts(recycle_seconds=-1), facts(pre_ping=False), facts(SQLITE), facts(MYSQL._replace(pre_ping=False))],
    "P13": [facts(MYSQL), facts(MYSQL._replace(pre_ping=False)), facts(recycle_seconds=-1, pre_ping=False)],
    "P14": [facts(MEMORY), facts(SQLITE._replace(pool_size=1)), facts(SQLITE._replace(pool_class="NullPool"))],
    "P15": [facts(MEMORY), facts(SQLITE, processes=4)],
    "P16": [facts(MEMORY), facts(SQLITE._replace(pool_class="SingletonThreadPool")), facts(pool_class="StaticPool")],
    "P17": [
        facts(is_bouncer=True, pool_mode="session"),
        facts(is_bouncer=True, pool_mode="transaction", settings={"max_prepared_statements": 200.0}),
        facts(port=6432, arguments={"statement_cache_size": 0, "prepared_statement_name_func": str}),
        facts(port=6432, arguments=None),
        facts(MYSQL._replace(port=6432)),
    ],
    "P18": [
        facts(PSYCOPG._replace(port=6432, arguments={"prepare_threshold": None})),
        facts(PSYCOPG._replace(port=6432, arguments=None)),
        facts(PSYCOPG),
    ],
    "P20": [
        facts(arguments=None),
        facts(host="localhost", arguments={}),
        facts(arguments={}, libpq=("PGCONNECT_TIMEOUT",)),
    ],
    "P21": [
        facts(),
        facts(settings={"statement_timeout": 30.0, "idle_in_transaction_session_timeout": 60.0}),
        facts(settings={"statement_timeout": 0.0}, arguments={"options": "-c statement_timeout=5s"}),
        facts(settings={"statement_timeout": 0.0}, arguments={"command_timeout": 30}),
        facts(settings={"statement_timeout": 0.0}, arguments={"server_settings": {"statement_timeout": "5s"}}),
        facts(settings={"statement_timeout": 0.0}, is_bouncer=True),
    ],
    "P22": [facts(), facts(MYSQL), facts(PSYCOPG._replace(arguments={}), libpq=("PGAPPNAME",)), facts(arguments=None)],
    "P23": [facts(has_echo=True, is_terminal=True)],
    "P24": [
        facts(reset_on_return="", isolation_level="AUTOCOMMIT"),
        facts(reset_on_return="", has_reset_listener=True),
        facts(reset_on_return="commit"),
    ],
    "P26": [
        facts(has_async_sessions=True, expires_on_commit=False),
        facts(has_async_sessions=False, expires_on_commit=True),
        facts(),
    ],
    "P27": [facts(verdicts={"loop_waits": 1}), facts(PSYCOPG)],
    "P31": [facts()],
    "P32": [facts(verdicts={"too_small": 1})],
    "P33": [facts(), facts(SQLITE, discarded=4)],
}


def cases(table: dict[str, list[Facts]]) -> list[object]:
    """Return each case with its rule's id as a name."""
    return [
        pytest.param(rule, each, id=f"{rule}-{number}")
        for rule, given in table.items()
        for number, each in enumerate(given)
    ]


@pytest.mark.parametrize(("rule", "given"), cases(FOUND))
def test_rule_finds(rule: str, given: Facts) -> None:
    """What the rule is about is found, once, with a fix and a source."""
    (finding,) = (each for each in findings(given) if each.id == rule)

    assert "" not in (finding.message, finding.fix, finding.source)
    assert rule not in {each.id for each in findings(given, {rule})}, "a silenced rule finds nothing"


@pytest.mark.parametrize(("rule", "given"), cases(NOT_FOUND))
def test_rule_finds_nothing(rule: str, given: Facts) -> None:
    """Where the guard holds, nothing is found."""
    assert rule not in {each.id for each in findings(given)}


def test_pool_of_an_sqlite_file_keeps_what_is_said(tmp_path: Path) -> None:
    """The finding says how many connections a pool of the default size opens, and how many it keeps."""
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}", poolclass=QueuePool)
    pool = engine.pool
    assert isinstance(pool, QueuePool)
    used = [engine.connect() for _ in range(15)]
    for connection in used:
        connection.close()
    (message,) = (each.message for each in findings(facts(SQLITE)) if each.id == "P14")
    kept = pool.checkedin()
    engine.dispose()

    assert f"opens up to {len(used)} connections to an SQLite file and keeps {kept} of them" in message


def test_every_rule_has_both_cases() -> None:
    """No rule without a case that it finds, and one that it does not."""
    ids = [rule.id for rule in RULES]

    assert ids == sorted(FOUND) == sorted(NOT_FOUND)
    assert len(ids) == len(set(ids))
    assert {rule.severity for rule in RULES} == set(SEVERITIES)


@pytest.mark.parametrize("engine", [POSTGRES, PSYCOPG, MYSQL, SQLITE._replace(pool_class="NullPool"), MEMORY])
def test_right_configurations_have_no_finding(engine: EngineFacts) -> None:
    """The set-ups of the guides are right."""
    assert () == findings(Facts(engine))


def test_the_worst_is_first() -> None:
    """Errors, then warnings, then the rest; each severity by id."""
    found = findings(facts(reset_on_return="", pre_ping=False, recycle_seconds=-1, timeout_seconds=30, max_overflow=-1))

    assert ["P24", "P02", "P12", "P04"] == [each.id for each in found]


def test_unknown_facts_are_no_finding() -> None:
    """Of an engine of which next to nothing is known, nothing is found."""
    assert () == findings(Facts(EngineFacts("", ""), PoolHistory(), ServerFacts(), ProcessFacts()))


def test_a_rule_that_fails_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a rule raises stays in it: the others find what they find, and the error is counted."""

    def fail(_: Facts) -> str:
        raise RuntimeError("a rule")

    monkeypatch.setattr(rules, "RULES", (RULES[0]._replace(find=fail), *RULES))
    before = errors.count

    assert ["P24"] == [each.id for each in findings(facts(reset_on_return=""))]
    assert before + 1 == errors.count
