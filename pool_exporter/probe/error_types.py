"""Classifies the exception of a failed query as one of `server_metrics.SERVER_ERRORS`.

The server's error code decides, if the driver reports one. psycopg reports none while it connects; there the text of
the message decides. Nothing here may import a driver.
"""

import re
from collections.abc import Iterator
from typing import Final

_BY_STATE: Final = {
    "28000": "authentication",
    "28P01": "authentication",
    "53300": "too_many_connections",
    "42501": "permission",
    "57014": "timeout",
}

_BY_NUMBER: Final = {
    **dict.fromkeys((1040, 1203, 1226), "too_many_connections"),
    **dict.fromkeys((1045, 1698), "authentication"),
    **dict.fromkeys((1044, 1142, 1227), "permission"),
    **dict.fromkeys((1053, 1927, 2002, 2003, 2006, 2013), "connect"),
    **dict.fromkeys((1969, 3024), "timeout"),
}
"""The numbers of MySQL, MariaDB and their client libraries."""

_BY_WORDS: Final = (
    ("too_many_connections", "connection slots|too many|no more connections"),
    ("authentication", "authentication|password|no such user|not allowed|role .* does not exist|pg_hba"),
    ("timeout", "timeout|timed out"),
    ("connect", "connection failed|refused|closed|server is (starting|shutting)|could not (connect|translate)|resolve"),
)


def error_type_of(error: BaseException) -> str:
    """Return the type of *error*, or of the first exception in its chain that has a known one."""
    chain = tuple(_chain(error))
    found = [_known(each) for each in chain]
    return next(filter(None, found), None) or _by_words(" ".join(map(message_of, chain)))


def message_of(error: BaseException) -> str:
    """Return the message of an exception, empty if it cannot be converted to text."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # a driver's exception may do anything
        return ""


def _known(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str) and state in _BY_STATE:
        return _BY_STATE[state]
    number = error.args[0] if error.args else None
    if not isinstance(error, OSError) and isinstance(number, int) and number in _BY_NUMBER:
        return _BY_NUMBER[number]
    if type(error).__name__ in ("TimeoutError", "ConnectionTimeout"):
        return "timeout"  # Before Python 3.11 asyncio has a class of its own.
    return "connect" if isinstance(error, OSError) else ""


def _by_words(text: str) -> str:
    for kind, words in _BY_WORDS:
        if re.search(words, text, re.IGNORECASE):
            return kind
    return "other"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the exception and those that it was raised from; a driver may have made a circle of them."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def cause_of(error: BaseException) -> BaseException:
    """Return the driver's exception, without SQLAlchemy's wrapper."""
    while type(error).__module__.startswith("sqlalchemy.") and error.__cause__ is not None:
        error = error.__cause__
    return error
