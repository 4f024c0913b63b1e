"""Classifies the exception of a failed query or connection as one of `server_metrics.SERVER_ERRORS`.

The server's error code decides, if the driver reports one. psycopg reports none while it connects; there the text of
the message decides. The failures of the probe and of the application's pools are classified by the same codes and
words. Nothing here may import a driver.
"""

import re
from collections.abc import Iterator, Sequence
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
    ("too_many_connections", "connection slots|too many (clients|connections)|no more connections"),
    ("authentication", "authentication|password|no such user|not allowed|role .* does not exist|pg_hba"),
    ("timeout", "timeout|timed out"),
    ("connect", "connection failed|refused|closed|server is (starting|shutting)|could not (connect|translate)|resolve"),
)


def error_type_of(error: BaseException) -> str:
    """Return the type of *error*, or of the first exception in its chain that has a known one."""
    return _type_in(tuple(_chain(error)))


def is_server_full(error: BaseException) -> bool:
    """Return whether the server refused a connection because it, or the user, may have no more.

    What an application was handling when *error* was raised may be of another server, and does not count.
    """
    return _type_in(tuple(_chain(error, has_context=False))) == "too_many_connections"


def message_of(error: BaseException) -> str:
    """Return the message of an exception, empty if it cannot be converted to text."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # a driver's exception may do anything
        return ""


def _type_in(chain: Sequence[BaseException]) -> str:
    found = [_known(each) for each in chain]
    return next(filter(None, found), None) or _by_words(" ".join(map(message_of, chain)))


def _known(error: BaseException) -> str:
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)  # psycopg2 has the latter.
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


def _chain(error: BaseException | None, *, has_context: bool = True) -> Iterator[BaseException]:
    """Yield the exception and those that it was raised from; a driver may have made a circle of them."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = _wrapped_by(error) or (error.__context__ if has_context else None)


def _wrapped_by(error: BaseException) -> BaseException | None:
    original = getattr(error, "orig", None)  # Of SQLAlchemy's errors, also before they are raised.
    return original if isinstance(original, BaseException) else error.__cause__


def cause_of(error: BaseException) -> BaseException:
    """Return the driver's exception, without SQLAlchemy's wrapper."""
    while type(error).__module__.startswith("sqlalchemy.") and (wrapped := _wrapped_by(error)) is not None:
        error = wrapped
    return error
