"""The rules about what a pool was seen to do, and about what surrounds it in its process.

Each rule is a function of `Facts`; nothing here may read anything else.
"""

from typing import Final

from pool_exporter.advice.checks.facts import Facts
from pool_exporter.advice.checks.rule import Rule
from pool_exporter.diagnosis.texts.wording import counted

ENGINES_PER_MINUTE_MAX: Final = 5
CONNECTS_MIN: Final = 100
"""The least number of opened connections with which their rate says anything."""
FAST_CONNECT_SECONDS: Final = 0.001


def _threads_deadlock(facts: Facts) -> str:
    if not facts.history.verdicts.get("threads_deadlock"):
        return ""
    return "All worker threads have waited for connections, and the holders of these for a thread."


def _pools_of_one_database(facts: Facts) -> str:
    if not facts.process.same_server or not facts.engine.is_on_server:
        return ""
    return f"Other pools of this process have the same server and database: {', '.join(facts.process.same_server)}."


def _engine_per_request(facts: Facts) -> str:
    made = facts.process.made_per_minute
    return f"{made} pools with this address were made within a minute." if made > ENGINES_PER_MINUTE_MAX else ""


def _no_pooling(facts: Facts) -> str:
    engine, history = facts.engine, facts.history
    is_slow = history.create_seconds is None or history.create_seconds >= FAST_CONNECT_SECONDS
    if engine.pool_class != "NullPool" or not engine.is_on_server or facts.server.is_bouncer or not is_slow:
        return ""
    if history.connects < CONNECTS_MIN or not history.seconds or history.connects / history.seconds <= 1:
        return ""
    return f"NullPool has opened {history.connects} connections, {history.connects / history.seconds:.1f} a second."


def _expiring(facts: Facts) -> str:
    if not facts.process.has_async_sessions or not facts.process.expires_on_commit:
        return ""
    return "The sessionmaker of asynchronous sessions has expire_on_commit=True."


def _nested(facts: Facts) -> str:
    if not facts.history.nested:
        return ""
    return f"{facts.history.nested} times a unit of work asked for a second connection while it held one."


def _held(facts: Facts) -> str:
    if not facts.history.verdicts.get("held_in_own_code"):
        return ""
    return "The pool was exhausted by connections that the application held while it did something else."


def _left_open(facts: Facts) -> str:
    if not facts.history.discarded or not facts.engine.is_on_server:
        return ""
    return f"{counted(facts.history.discarded, 'connection')} ended that no code has closed."


BEHAVIOUR_RULES: Final = (
    Rule(
        "P07",
        "error",
        "Threads and connections that wait for each other",
        "A synchronous endpoint returns its connection in a second thread, for which all requests compete.",
        "Close the session inside the endpoint, make the dependency or the endpoint async, or give the pool as many "
        "connections as there are threads.",
        "FastAPI, issue 3205 and pull request 12066",
        "Pools in which it was not seen.",
        _threads_deadlock,
    ),
    Rule(
        "P08",
        "warning",
        "Two pools of one database in one process",
        "Each has a limit of its own, so the process opens twice as many connections and uses each half as well.",
        "Make one engine for the process, and share it, unless they need different users or isolation levels.",
        "SQLAlchemy, Engine Configuration: one engine for each database of a process",
        "Pools with another database or server; SQLite; pools that are not instrumented.",
        _pools_of_one_database,
    ),
    Rule(
        "P09",
        "error",
        "An engine for each request",
        "Each opens connections of its own and closes none in time: nothing is pooled.",
        "Make the engine once, when the module is imported or the application starts.",
        "SQLAlchemy, Working with Engines and Connections: the engine is made once",
        f"Up to {ENGINES_PER_MINUTE_MAX} pools a minute, as tests make them.",
        _engine_per_request,
        ("made_per_minute",),
    ),
    Rule(
        "P10",
        "warning",
        "NullPool under load",
        "Each checkout opens a connection, which costs a handshake and a process at the server.",
        "Leave poolclass out, or put PgBouncer in between.",
        "SQLAlchemy, Connection Pooling, Using NullPool",
        "PgBouncer; connections that open within a millisecond; less than one a second.",
        _no_pooling,
    ),
    Rule(
        "P26",
        "warning",
        "Objects that expire on commit in asynchronous sessions",
        "Reading an attribute after the commit is a query outside of await: MissingGreenlet, or a second checkout.",
        "Set async_sessionmaker(..., expire_on_commit=False).",
        "SQLAlchemy, Asynchronous I/O, Preventing Implicit IO when Using AsyncSession",
        "Only the sessionmaker that `check` is given is known.",
        _expiring,
        ("expires_on_commit",),
    ),
    Rule(
        "P31",
        "warning",
        "Units of work that need two connections",
        "When as many units as the pool has connections ask for their second one, all wait for each other.",
        "Pass the first session on instead of opening another, or commit and close it before.",
        "HikariCP, About Pool Sizing, Pool-locking",
        "Pools in which it was not seen.",
        _nested,
    ),
    Rule(
        "P32",
        "warning",
        "Connections held during other work",
        "A call of another service under an open session takes a connection for as long as that service takes.",
        "Close the session before the call and open one after it.",
        "SQLAlchemy, Session Basics, When do I construct a Session",
        "Pools that were not exhausted by it.",
        _held,
    ),
    Rule(
        "P33",
        "info",
        "Connections that no code closes",
        "They were open when the process ended or was killed, or their engine was dropped: the server logs a lost "
        "client for each, and keeps it until it notices.",
        "Call engine.dispose() when the application ends, such as in FastAPI's lifespan after yield; await it for an "
        "AsyncEngine.",
        "SQLAlchemy, Working with Engines and Connections, Engine Disposal",
        "SQLite. Of processes that have ended, only a shared directory knows.",
        _left_open,
    ),
)
