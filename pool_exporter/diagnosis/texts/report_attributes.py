"""A report as attributes of OpenTelemetry: of its log record, of its span event, and of its line in the log.

A pure function of a `Diagnosis`. No attribute has SQL, an exception's message or a value of the application, and no
package of OpenTelemetry is imported.
"""

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from pool_exporter.diagnosis.evidence import Evidence
from pool_exporter.diagnosis.texts.holder_groups import groups
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.parts import VERDICT, attributes
from pool_exporter.metrics.pool_metrics import POOL_LABELS

Value: TypeAlias = str | int | float | tuple[str, ...]
Attributes: TypeAlias = dict[str, Value]

REPORT_ATTRIBUTES: Final[Mapping[str, tuple[str, str]]] = {
    "db.client.connection.pool.name": ("string", "the pool's name"),
    "db.system.name": ("string", "the database system, such as `postgresql`"),
    "db.namespace": ("string", "the database's name"),
    "server.address": ("string", "the server's host"),
    "server.port": ("int", "the server's port"),
    VERDICT: ("string", "the verdict"),
    "sqlalchemy.pool.summary": ("string", "the verdict and its numbers in one line"),
    "sqlalchemy.pool.where": ("string[]", "the lines of WHERE, the most frequent place first"),
    "sqlalchemy.pool.culprit.place": ("string", "the frame of the application that the first line of WHERE names"),
    "sqlalchemy.pool.culprit.unit": ("string", "the unit of work there, such as `POST /orders`"),
    "sqlalchemy.pool.culprit.endpoint": ("string", "that unit's function"),
    "sqlalchemy.pool.connections.used": ("int", "connections that are checked out"),
    "sqlalchemy.pool.connections.max": ("int", "most connections that the pool may have; missing without a limit"),
    "sqlalchemy.pool.requests.pending": ("int", "callers that wait"),
    "sqlalchemy.pool.wait": ("double", "how long the caller that timed out, or the oldest waiter, has waited, in s"),
    "sqlalchemy.pool.holders.oldest": ("double", "how long the oldest connection has been checked out, in s"),
    "sqlalchemy.pool.holders.lost": ("int", "connections of code that has ended; no other is known to return them"),
    "sqlalchemy.pool.holders.waiting": ("int", "connections held by code that waits for this pool itself"),
    "sqlalchemy.pool.holders.executing": ("int", "connections that execute a statement"),
    "sqlalchemy.pool.holders.own_code": ("int", "connections held by code outside the database"),
    "sqlalchemy.pool.holders.largest.unit": ("string", "the unit of work of the largest group of holders"),
    "sqlalchemy.pool.holders.largest.place": ("string", "where that group checked out"),
}
"""Each attribute of a report: its type, and what it is. One that is unknown is missing."""


def report_attributes(made: Diagnosis, identity: PoolIdentity) -> Attributes:
    """Return the attributes of a report on a pool: those of `REPORT_ATTRIBUTES` that are known."""
    known: Attributes = {**_pool(identity), VERDICT: made.verdict, "sqlalchemy.pool.summary": made.summary}
    texts = {name: value for name, value in _texts(made) if value}
    return known | {f"sqlalchemy.pool.{name}": value for name, value in (*texts.items(), *_numbers(made))}


def _pool(identity: PoolIdentity) -> dict[str, str | int]:
    """Return the pool's attributes; in a trace or a log the resource names the service."""
    found = attributes(POOL_LABELS, identity.values())
    return {name: value for name, value in found.items() if not name.startswith("service.")}


def _texts(made: Diagnosis) -> Iterator[tuple[str, str | tuple[str, ...]]]:
    yield "where", made.where
    if made.culprit is not None:
        yield "culprit.place", made.culprit.place
        yield "culprit.unit", made.culprit.unit
        yield "culprit.endpoint", made.culprit.unit_code
    for group in groups(made.holders)[:1]:
        yield "holders.largest.unit", group.like.unit
        yield "holders.largest.place", group.like.place


def _numbers(made: Diagnosis) -> Iterator[tuple[str, int | float]]:
    e: Evidence = made.evidence
    yield "connections.used", e.used + e.n_long
    if e.limit >= 0:
        yield "connections.max", e.limit + e.n_long
    yield "requests.pending", e.pending
    yield "wait", e.wait_seconds
    if made.holders:
        yield "holders.oldest", made.holders[0].seconds
    yield "holders.lost", e.n_lost
    yield "holders.waiting", e.n_self
    yield "holders.executing", e.n_db
    yield "holders.own_code", e.n_app
