"""The package's own classes of errors and their messages. Nothing here may import a third-party package.

A wrong argument may also raise Python's TypeError or ValueError.

Each class says where the cause is:

    Exception
    └── PoolExporterError
        ├── SettingsError (also a ValueError)   in the settings: the environment, `.env` or an argument is wrong
        └── CorruptFile                         in another process: a file of the shared directory is damaged

A class that never leaves its wing, such as the sidecar's `TooManyChecks`, is not among them.

A password in a setting's value is masked when the Problem is built, so that no error holds it. All errors can be
pickled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

SHOWN_CHARACTERS_MAX = 200


def masked(url: str) -> str:
    """Return a database URL without its password and its query, even if it cannot be parsed.

    Where it is not certain which part is the password, more is hidden than needed. A text without `://` is hidden
    entirely, because it may be the password itself.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not re.fullmatch(r"[\w+.-]+", scheme):
        return "***"
    if scheme.startswith("sqlite") and rest.startswith("/"):
        login, at, place = "", "", rest  # A file's path may have any @ and : in it.
    else:
        login, at, place = rest.rpartition("@")
    if "?" in login:
        return f"{scheme}://***"
    place, query, _ = place.partition("?")
    if not at and not place.startswith("/"):
        place = _from_colon_masked(place, unless=r"\d+(/|[^\w@]*$)")
    return f"{scheme}://{_from_colon_masked(login)}{at}{place}{query and '?***'}"


_LOGIN: Final = re.compile(r":[^\s@]+@")
"""A password between a user and a host, also where a scheme is missing."""

_URLS: Final = re.compile(r"[\w+.-]+://\S*|\S*:[^\s@]+@\S*")

_IN_TEXTS: Final = (
    # password=…, 'passwd': '…'; MySQL says whether one was sent: (using password: YES).
    (
        re.compile(
            r"""(?i)(\b[\w.]*(?:password|passwd|passcode|pwd|secret|token)["']?\s*[=:]\s*)"""
            r"""('[^']*'|"[^"]*"|(?!(?:yes|no)\b)[^\s,;)}]+)"""
        ),
        r"\1***",
    ),
    (re.compile(r"""([^\s:/@'"]+[:/])(?![/\s@])\S*@"""), r"\1***@"),  # app/…@db, as Oracle has it
    (re.compile(r'(host ?name ")[^\s"]*@'), r"\1***@"),  # libpq, where a password has an @
    (re.compile(r"""(missing "=" after|integer value) "[^"]*\""""), r'\1 "***"'),  # libpq, of a text that is no DSN
)
"""Where else a driver's message quotes a password, and what is shown there."""


def without_passwords(text: str) -> str:
    """Return a text of another library or of the command line with `masked` URLs, those without a scheme included.

    Passwords that are quoted in another form that is known are hidden too.
    """
    text = _URLS.sub(lambda found: masked(found[0]), text)
    for pattern, shown in _IN_TEXTS:
        text = pattern.sub(shown, text)
    return text


def may_have_password(text: str) -> bool:
    """Return whether a text, such as an application's error, may quote a URL with a password, or a password."""
    has_one = re.search("://|passw|pwd|secret|token", text, re.IGNORECASE) is not None
    return has_one or _LOGIN.search(text) is not None or without_passwords(text) != text


def _from_colon_masked(text: str, unless: str = r"(?!)") -> str:
    return re.sub(rf":(?!{unless}).*", ":***", text, flags=re.DOTALL)


class PoolExporterError(Exception):
    """The base class of the package's own classes of errors."""


@dataclass(frozen=True)
class Problem:
    """One wrong setting.

    Attributes:
        key: The variable, argument, or line of a file.
        value: Its value with passwords masked; None where there is none: an unknown or missing key, a line of `.env`.
        allowed: What is allowed instead.
    """

    key: str
    value: str | None
    allowed: str

    def __post_init__(self) -> None:
        """Mask the value if it is a URL or like one, whatever its key, and cut it at 200 characters."""
        if self.value is not None:
            is_url = self.key.endswith("URL") or "://" in self.value or _LOGIN.search(self.value) is not None
            shown = masked(self.value) if is_url else self.value
            object.__setattr__(self, "value", shown[:SHOWN_CHARACTERS_MAX])

    def __str__(self) -> str:
        given = self.key if self.value is None else f"{self.key}={self.value!r}"
        return f"{given}: {self.allowed}"


class SettingsError(PoolExporterError, ValueError):
    """All wrong settings at once; the message of one is one line, that of several a line each under a heading."""

    def __init__(self, *problems: Problem) -> None:
        """Keep the problems in the order given; at least one is needed."""
        if not problems:
            raise TypeError("a SettingsError needs at least one problem")
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return str(self.problems[0])
        return "\n  ".join([f"{len(self.problems)} settings are wrong:", *map(str, self.problems)])


class CorruptFile(PoolExporterError):
    """A file of the shared directory is damaged, incomplete, or of another kind than its name says."""

    def __init__(self, path: str, fault: str, reason: str = "corrupt") -> None:
        """Keep the path, what is wrong with it, and one of `exporter_metrics.SET_ASIDE` for counting it."""
        super().__init__(path, fault, reason)
        self.path = path
        self.fault = fault
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.fault}"
