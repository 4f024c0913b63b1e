"""Values of arguments are checked after parsing, and everything that is wrong is one error."""

import argparse
from typing import Any

import pytest

from pool_exporter.arguments import (
    AllSettings,
    CheckedValue,
    Convert,
    at_least_seconds,
    http_url,
    one_of,
    problems_of,
    whole_number,
)
from pool_exporter.errors import Problem, SettingsError

A, B = Problem("A", "1", "must be 2"), Problem("B", None, "is needed")


def parsed(convert: Convert, *arguments: str) -> argparse.Namespace:
    """Parse a command line with two checked arguments, --a and --b, by default 5."""
    parser = argparse.ArgumentParser()
    for name in ("--a", "--b"):
        parser.add_argument(name, action=CheckedValue, convert=convert, default=5)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    ("convert", "text", "value"),
    [
        (at_least_seconds(0.5), "0.5", 0.5),
        (at_least_seconds(0.5), "500ms", 0.5),
        (at_least_seconds(0.5), "1.5m", 90.0),
        (at_least_seconds(0.5), "1h30m", 5400.0),
        (at_least_seconds(0.5), "7d", 604800.0),
        (whole_number(0, 9), "9", 9),
        (one_of("a", "b"), "b", "b"),
        (http_url, "https://[::1]:4318", "https://[::1]:4318"),
    ],
)
def test_right_values_are_converted(convert: Convert, text: str, value: Any) -> None:
    """The namespace has the value of what is right, and the default of what was not given."""
    found = parsed(convert, "--a", text)

    assert (value, 5, ()) == (found.a, found.b, problems_of(found))


@pytest.mark.parametrize("text", ["1e308", "3000000", "100w"])
def test_longer_duration_than_the_system_takes(text: str) -> None:
    """It is the longest one that sockets, servers and `sleep` take, or the one of the argument."""
    assert (2_000_000, 2_500_000) == (at_least_seconds(1)(text), at_least_seconds(1, most=2_500_000)(text))


@pytest.mark.parametrize(
    ("convert", "text", "allowed"),
    [
        (at_least_seconds(0.5), "0.4", "must be seconds, at least 0.5, or a time such as 500ms, 90s or 5m"),
        (at_least_seconds(0.5), "400ms", "must be seconds, at least 0.5, or a time such as 500ms, 90s or 5m"),
        (at_least_seconds(0.5), "5x", "must be seconds, at least 0.5, or a time such as 500ms, 90s or 5m"),
        (at_least_seconds(0.5), "5m 1", "must be seconds, at least 0.5, or a time such as 500ms, 90s or 5m"),
        (one_of("debug", "warn"), "WARNING", "must be debug or warn; did you mean warn?"),
        (whole_number(0, 9), "10", "must be a whole number from 0 to 9"),
        (whole_number(0, 9), "1.5", "must be a whole number from 0 to 9"),
        (one_of("a", "b", "c"), "d", "must be a, b or c"),
        (http_url, "localhost:4318", "must be a URL such as http://localhost:4318"),
    ],
)
def test_all_wrong_values_are_kept(convert: Convert, text: str, allowed: str) -> None:
    """Parsing goes on after a wrong value, which leaves the default."""
    found = parsed(convert, f"--a={text}", f"--b={text}")

    assert [f"--a={text!r}: {allowed}", f"--b={text!r}: {allowed}"] == list(map(str, problems_of(found)))
    assert (5, 5) == (found.a, found.b)


def failing(*problems: Problem) -> int:
    """Fail as a reader of settings does."""
    raise SettingsError(*problems)


def test_settings_that_are_right() -> None:
    """Each reader's value is there after the check."""
    settings = AllSettings()
    one, none = settings.read(lambda: 1), settings.read(lambda: None)
    settings.check()

    assert (1, None) == (one.value, none.value)


def test_settings_that_are_wrong() -> None:
    """The error has the problems of all readers, each once, in their order; a wrong setting has no value."""
    settings = AllSettings(A)
    wrong = settings.read(lambda: failing(B, A))
    settings.read(lambda: 1)
    with pytest.raises(SettingsError) as raised:
        settings.check()

    assert (A, B) == raised.value.problems
    with pytest.raises(RuntimeError, match="no value"):
        assert wrong.value
