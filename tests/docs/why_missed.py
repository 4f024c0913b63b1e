"""Why a budget was missed, by the title that it has in tests/bench/budgets.py.

docs/explanation/overhead.md shows the reason of each that docs/benchmarks.md has as missed; `test_measured` fails where
one has none. Numbers that change from run to run may not be here: the tables have them.
"""

from collections.abc import Mapping
from typing import Final

_CALLS: Final = (
    "what is added are the calls of Python functions under *Where the time goes*. Each of them counts, or finds the "
    "owner or the place; two empty listeners, which do nothing, have two such calls. The compiled build of the same "
    "source has none of them"
)
_TASK: Final = (
    "the checkout that this compares with is the shortest of all, because its pool resets nothing. What is added is "
    "more than in a thread: the owner is a task, and its place is in the frames that await SQLAlchemy's greenlet"
)
_REQUEST: Final = (
    "what is added to each request is a checkout in a task and its return, about the same instructions for each. The "
    "shorter the request, the larger is their share"
)

WHY_MISSED: Final[Mapping[str, str]] = {
    "checkout + checkin, over bare": f"{_CALLS}.",
    "the same in a worker's file": (
        f"{_CALLS}. A store into the mapped file takes Python longer than one into a list, and there are several."
    ),
    "the same without places": f"{_CALLS}.",
    "checkout + checkin of an asynchronous pool, over bare": f"{_TASK}.",
    "instructions of checkout and return, `QueuePool`, over bare": f"{_CALLS}.",
    "instructions of checkout and return, `QueuePool`, in a worker's file, over bare": f"{_CALLS}.",
    "instructions of checkout and return, `QueuePool`, without places, over bare": f"{_CALLS}.",
    "instructions of checkout and return, `AsyncAdaptedQueuePool` in a task, over bare": f"{_TASK}.",
    "instructions of `SELECT 1`, asyncpg, over bare": f"{_REQUEST}.",
    "instructions of ORM select and commit, asyncpg, over bare": f"{_REQUEST}.",
    "instructions of `SELECT 1`, psycopg, over bare": f"{_REQUEST}.",
    "instructions of ORM select and commit, psycopg, over bare": f"{_REQUEST}.",
    "time added by OpenTelemetry, over pool_exporter": (
        "OpenTelemetry's listeners add less with SQLAlchemy 2.1, of which the events are faster. pool_exporter uses "
        "no event at a checkout and adds about the same with both versions."
    ),
    "prometheus_client's multiprocess scrape of 512 workers x 4 pools, over pool_exporter": (
        "more than half of the scrape is not the package's own code: to open and read 512 files, and "
        "prometheus_client's printing of the families. To compile the rest gains little ([The compiled build]"
        "(compiled.md))."
    ),
    "the same by the caller that times out: time": (
        "the measurement, not the report: its processor time is within the budget. Another process of the machine had "
        "the processor in each of the reports of that run."
    ),
    "import after sqlalchemy": (
        "a part of it is the standard library's `dataclasses`, which writes and compiles the methods of the frozen "
        "classes at each start. This budget is a time and no ratio, so it depends on the machine."
    ),
    "memory for a pool with 5 connections": (
        "there is a slot of 8 bytes for each bucket, counter and tracked connection, so that a frozen or dead process "
        "can be read, and an object for each connection. The sum differs a little with the build of Python."
    ),
}
"""Of the package as Python."""

_COMPILED_PAIR: Final = (
    "about the same instructions are added with both versions of SQLAlchemy. Where its own checkout takes fewer of "
    "them, the share is larger"
)

WHY_COMPILED_MISSED: Final[Mapping[str, str]] = {
    "instructions of checkout and return, `QueuePool`, over bare": f"{_COMPILED_PAIR}.",
    "instructions of checkout and return, `QueuePool`, in a worker's file, over bare": f"{_COMPILED_PAIR}.",
    "instructions of `SELECT 1`, asyncpg, over bare": f"{_REQUEST}.",
    "instructions of ORM select and commit, asyncpg, over bare": f"{_REQUEST}.",
    "instructions of `SELECT 1`, psycopg, over bare": f"{_REQUEST}.",
    "instructions of ORM select and commit, psycopg, over bare": f"{_REQUEST}.",
    **{
        title: WHY_MISSED[title]
        for title in (
            "prometheus_client's multiprocess scrape of 512 workers x 4 pools, over pool_exporter",
            "import after sqlalchemy",
            "memory for a pool with 5 connections",
        )
    },
}
"""Of the compiled build, which has narrower budgets."""
