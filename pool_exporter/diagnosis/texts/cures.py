"""What each verdict means, what causes it and what cures it, for the report and for docs/reference/verdicts.md.

Only texts are here. Each cure is tested: a program that follows it does not get the verdict again.
"""

from typing import Final, NamedTuple

from pool_exporter.diagnosis.verdict import HEALTHY
from pool_exporter.metrics.holders import UNKNOWN


class Cure(NamedTuple):
    """The texts of one verdict.

    Attributes:
        meaning: What is the case, in half a sentence.
        cause: How it comes about.
        cure: What to do, the most important first.
    """

    meaning: str
    cause: str
    cure: str


CURES: Final[dict[str, Cure]] = {
    "leak": Cure(
        "connections are held by code that has ended without returning them",
        "Code checked out a connection and ended without returning it: an error path without `close()`, a session in "
        "a global variable, or a generator that is never finished. Each such connection occupies a place of the pool "
        "until it is garbage-collected, or for as long as the process lives. Or the code handed its connection to "
        "another task or thread, which may use it still and return it: a report does not know that.",
        'Return the connection on every path: "with engine.connect() as connection:" or "with Session(engine) as '
        'session:" (in asyncio "async with") at the place shown. If the code that has '
        "ended handed its connection to a task or thread, let that one take its own. A larger pool only delays the "
        "exhaustion. What nothing returns, a restart of the process frees.",
    ),
    "loop_waits": Cure(
        "an event loop itself waits for a connection of a synchronous pool",
        "A synchronous engine is used on the thread of a running event loop. While that thread waits for a connection, "
        "the loop runs no task, so the tasks that hold the connections cannot return them.",
        "Use create_async_engine, or call the synchronous code in a thread: asyncio.to_thread, or an endpoint that is "
        'declared with "def" instead of "async def". A larger pool only makes it rarer.',
    ),
    "loop_blocked": Cure(
        "the event loop is blocked, so that tasks cannot open or return connections",
        "A task blocks the event loop's thread, for example with `time.sleep`, a synchronous HTTP client, password "
        "hashing or a long computation. Meanwhile no task runs that would return a connection or finish opening one.",
        "Move the blocking call into a thread: await asyncio.to_thread(...). The pool is not the cause: leave its "
        "size.",
    ),
    "server_full": Cure(
        "the database server grants no more connections",
        "All clients of the server together have reached its limit: the pools of all processes, other applications, "
        "and connections that were left open. An engine for each request causes it, too.",
        "Lower pool_size + max_overflow, or the number of processes, so that all pools together stay below the "
        "server's limit; close connections that other clients leave idle; or put a pooler such as PgBouncer between. "
        "Make one engine a process, not one a request.",
    ),
    "server_down": Cure(
        "no connection to the database server can be opened",
        "The server is not running, not reachable, or refuses the user: the message of the last attempt says which.",
        "Repair what the message names: server, network, address or password. The pool is not the cause; it opens "
        "connections again as soon as the server answers.",
    ),
    "lost_places": Cure(
        "SQLAlchemy counts places as checked out that no connection occupies",
        "An exception came in the middle of a return, most often from an event listener of the application "
        "(`checkin`, `reset`), or from a signal. SQLAlchemy does not give such a place back.",
        "Call engine.dispose(): it replaces the pool by one with all its places. Then mend the event listener "
        "that raises; the application's log has its traceback.",
    ),
    "opening": Cure(
        "callers wait for connections that are being opened",
        "Opening a connection takes long: name resolution, TLS, the server's authentication, or an event listener of "
        "`connect`. Until it is open, the place is taken.",
        "Find out what makes opening slow, and set a connect timeout. Keep connections open instead of opening them "
        "at each peak: size the pool by pool_size, with max_overflow=0, because it closes connections of the overflow "
        "that are returned.",
    ),
    "threads_deadlock": Cure(
        "requests that hold the connections wait for a thread, and all threads wait for a connection",
        "In FastAPI and Starlette a synchronous endpoint runs in one of anyio's worker threads (40 by default). With "
        "a session that a dependency yields and a response model, the request needs a thread once more before its "
        "session is closed. Under load all threads wait for connections that such requests hold.",
        'Close the session before the endpoint returns: "with Session(engine) as session:" inside the endpoint, not '
        "in a dependency that yields it. Do not raise pool_size: with a larger pool it deadlocks as well.",
    ),
    "self_deadlock": Cure(
        "the holders of the connections wait for another connection of the same pool",
        "Code that holds a connection asks for a second one, for example an audit log, a nested session or tasks that "
        "the holder awaits. When all connections are held by such code, none is returned.",
        "Pass the session or connection on to the inner code, or do the inner work after the first connection is "
        "returned. A pool of callers x (connections of each - 1) + 1 cannot deadlock, a smaller one does.",
    ),
    HEALTHY: Cure(
        "callers get their connections",
        "No caller waits for long, and none timed out within the last minute.",
        "Nothing.",
    ),
    "starved": Cure(
        "the interpreter stood still",
        "The timeout came late, although no event loop is used: the threads of the process did not run. A C extension "
        "kept the GIL, the container was throttled at its CPU limit, or the machine swapped.",
        "Look for a C extension that keeps the GIL, for CPU throttling and for swapping, and run fewer threads. The "
        "pool is not the cause: leave its size.",
    ),
    "burst": Cure(
        "at least twice as many callers arrive as usual",
        "All connections are returned and granted again, and a use takes as long as usual. There are only more callers "
        "than before.",
        "Admit fewer callers at once, or raise pool_size or max_overflow for such peaks, as far as the database server "
        "grants connections.",
    ),
    "too_small": Cure(
        "the pool has too few connections for its callers",
        "All connections are returned and granted again, and a use takes as long as usual. There are more callers at "
        "once than connections.",
        "Raise pool_size or max_overflow, as far as the database server grants connections, or admit fewer callers at "
        "once.",
    ),
    "locks": Cure(
        "the holders wait for a lock at the database server",
        "Another transaction keeps a lock that the holders need, most often one that is open and idle. A process does "
        "not query the server: its reports say slow_queries. `pool-exporter diagnose --database-url` asks the server.",
        "End the transaction that blocks, shown with its server pid, then make such transactions shorter. Set "
        "lock_timeout, so that a statement does not wait for ever.",
    ),
    "slow_queries": Cure(
        "the holders execute statements that take long",
        "The database is slow, or statements are: a missing index, a new plan, more data, an overloaded server, or a "
        "lock that another transaction keeps.",
        "EXPLAIN the statements at the places shown, look on the server whether they wait for a lock, and set "
        "statement_timeout. A larger pool would only send more of them to the server at once.",
    ),
    "held_in_own_code": Cure(
        "the holders do nothing in the database",
        "Code keeps its connection while it does something else: a call to another service, a computation, a stream "
        "to a client, a sleep.",
        "Commit and close the session before that work, at the place shown, or take the connection after it. A larger "
        "pool hides it only until the load grows.",
    ),
    UNKNOWN: Cure(
        "the evidence fits no other verdict",
        "Too little is known of the holders, or what they do changes too quickly.",
        "Look at the holders below. Name the work with UnitMiddleware or unit(), so that the next report says more.",
    ),
}
"""The texts of each verdict, in the order of the table of `verdict`."""
