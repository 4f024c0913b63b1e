"""Command line arguments that are checked together with all other settings, so that one message names all errors.

argparse alone ends at the first wrong value. Nothing here may know a command, or import a third-party package: the
health check starts with the standard library alone.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Final, Generic, TypeAlias, TypeVar
from urllib.parse import urlsplit

from pool_exporter.environment import SECONDS_MAX, seconds
from pool_exporter.errors import Problem, SettingsError

T = TypeVar("T")

Convert: TypeAlias = Callable[[str], object]
"""Returns the value that a text stands for. Raises ValueError with what is allowed instead."""

DURATION: Final = "DURATION"
"""What the help has in place of a value that `at_least_seconds` converts."""

_PROBLEMS: Final = "problems"
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART: Final = r"(\d+(?:\.\d+)?)(ms|[smhdw])"


class CheckedValue(argparse.Action):
    """An argument that keeps a wrong value as a `Problem` in the namespace; `problems_of` returns them."""

    def __init__(  # noqa: PLR0913  # what argparse passes to an action
        self,
        option_strings: Sequence[str],
        dest: str,
        *,
        convert: Convert,
        default: object = None,
        metavar: str | None = None,
        help: str | None = None,  # noqa: A002  # the name in argparse
    ) -> None:
        super().__init__(option_strings, dest, default=default, metavar=metavar, help=help)
        self._convert = convert

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002  # argparse passes it
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Convert the text, and set the attribute or keep the problem."""
        try:
            setattr(namespace, self.dest, self._convert(str(values)))
        except ValueError as error:
            problem = Problem(option_string or self.dest, str(values), str(error))
            setattr(namespace, _PROBLEMS, (*problems_of(namespace), problem))


class OnlyValue(CheckedValue):
    """A `CheckedValue` that may be given once: which of two values counts is not to be guessed."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Convert the text, and set the attribute or keep the problem."""
        before: object = getattr(namespace, self.dest)
        super().__call__(parser, namespace, values, option_string)
        if before not in (None, getattr(namespace, self.dest)):
            problem = Problem(option_string or self.dest, str(values), f"is the second value; the first is {before}")
            setattr(namespace, _PROBLEMS, (*problems_of(namespace), problem))


def problems_of(namespace: argparse.Namespace) -> tuple[Problem, ...]:
    """Return the wrong values among parsed arguments."""
    problems: tuple[Problem, ...] = getattr(namespace, _PROBLEMS, ())
    return problems


def at_least_seconds(least: float, most: float = SECONDS_MAX) -> Convert:
    """Return a conversion to a duration of at least *least* seconds: "2.5", "500ms", "1h30m" or "7d".

    Args:
        least: The shortest duration that is allowed, in seconds.
        most: A longer one is this one.
    """

    def convert(text: str) -> float:
        try:
            return seconds(_in_seconds(text), least, most)
        except ValueError:
            raise ValueError(f"must be seconds, at least {least:g}, or a time such as 500ms, 90s or 5m") from None

    return convert


def _in_seconds(text: str) -> str | float:
    """Return the seconds of a text that has units; any other text as it is."""
    if re.fullmatch(f"(?:{_PART})+", text) is None:
        return text
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, text))


def whole_number(least: int, most: int) -> Convert:
    """Return a conversion to a whole number from *least* to *most*."""

    def convert(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return convert


def one_of(*words: str) -> Convert:
    """Return a conversion to one of *words*."""

    def convert(text: str) -> str:
        if text in words:
            return text
        near = get_close_matches(text.lower(), words, n=1)
        raise ValueError(
            f"must be {', '.join(words[:-1])} or {words[-1]}{f'; did you mean {near[0]}?' if near else ''}"
        )

    return convert


def http_url(text: str) -> str:
    """Return *text*, the URL of an OpenTelemetry collector, if it is one of HTTP; a `Convert`."""
    try:
        if urlsplit(text).scheme in ("http", "https"):
            return text
    except ValueError:  # Half of an IPv6 address.
        pass
    raise ValueError("must be a URL such as http://localhost:4318")


class Setting(Generic[T]):
    """One setting that was read, or could not be."""

    def __init__(self, value: T | None, *, is_wrong: bool = False) -> None:
        self._value, self._is_wrong = value, is_wrong

    @property
    def value(self) -> T:
        """The value; only after `AllSettings.check()`, which raises if it is wrong."""
        if self._is_wrong:
            raise RuntimeError("a wrong setting has no value")
        return self._value  # type: ignore[return-value]  # it is None only where T has None


class AllSettings:
    """Reads settings one by one, and raises one error that names all that are wrong."""

    def __init__(self, *problems: Problem) -> None:
        """Begin with the *problems* that are known already."""
        self._problems = list(problems)

    def read(self, read: Callable[[], T]) -> Setting[T]:
        """Read a setting by a function that returns it, or raises SettingsError."""
        try:
            return Setting(read())
        except SettingsError as error:
            self._problems += [each for each in error.problems if each not in self._problems]
            return Setting(None, is_wrong=True)

    def check(self) -> None:
        """Return if nothing is wrong.

        Raises:
            SettingsError: Settings are wrong. The error names all of them.
        """
        if self._problems:
            raise SettingsError(*self._problems)
