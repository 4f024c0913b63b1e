"""Log lines: one an event, in the two formats of Prometheus' programs, whatever is in it."""

import json
import logging
from typing import Any

import pytest

from pool_exporter.sidecar.log_format import FORMATS, LineFormatter


def record(message: str, *arguments: object, level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    """Return a record of a fixed time."""
    made = logging.LogRecord("pool_exporter", level, __file__, 1, message, arguments, None)
    made.created = 1763865600.1239
    vars(made).update(extra)
    return made


def test_logfmt() -> None:
    """Keys and values, quoted where they have to be, the fields after the message."""
    line = LineFormatter("logfmt").format(
        record("a %s b", "=", fields={"address": "[::1]:9100", "tls": False, "n": 3, "empty": "", "text": 'x "y"\n'})
    )

    assert (
        "time=2025-11-23T02:40:00.123Z level=INFO "
        'msg="a = b" address=[::1]:9100 tls=false n=3 empty="" text="x \\"y\\"\\n"'
    ) == line


def test_json() -> None:
    """The same as one object, with numbers and flags as they are."""
    line = LineFormatter("json").format(record("a %s", "b", fields={"tls": False, "n": 3, "path": {1}}))

    assert {
        "time": "2025-11-23T02:40:00.123Z",
        "level": "INFO",
        "msg": "a b",
        "tls": False,
        "n": 3,
        "path": "{1}",
    } == json.loads(line)


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (logging.DEBUG, "DEBUG"),
        (logging.INFO, "INFO"),
        (logging.WARNING, "WARN"),
        (logging.ERROR, "ERROR"),
        (logging.CRITICAL, "ERROR"),
    ],
)
def test_levels_are_prometheus_own(level: int, name: str) -> None:
    """The names of the levels are those that Prometheus' programs use."""
    assert f"level={name} " in LineFormatter("logfmt").format(record("x", level=level))


@pytest.mark.parametrize("form", FORMATS)
def test_traceback_is_on_the_line(form: str) -> None:
    """An event with a traceback, or with a message of several lines, is one line."""
    made = record("first\nsecond \x1b[31m\u2028")
    try:
        int("two\nlines")
    except ValueError as error:
        made.exc_info = (type(error), error, error.__traceback__)
    line = LineFormatter(form).format(made)

    assert 1 == len(line.splitlines())
    assert "ValueError" in line
    assert "\x1b" not in line
