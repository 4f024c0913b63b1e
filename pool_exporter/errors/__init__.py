"""The package's own classes of errors and their messages. Nothing here may import a third-party package.

A wrong argument may also raise Python's TypeError or ValueError.

Each class says where the cause is:

    Exception
    └── PoolExporterError
        ├── SettingsError (also a ValueError)   in the settings: the environment, `.env` or an argument is wrong
        └── CorruptFile                         in another process: a file of the shared directory is damaged

A class that never leaves its wing, such as the sidecar's `TooManyChecks`, is not among them.

A password in a setting's value is masked when the Problem is built, so that no error holds it. All errors can be
pickled. `without_passwords` masks the texts of others, before any of them gets into a log, a report or a page.
`database_errors` has what drivers raise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from traceback import format_exception
from typing import Final

SHOWN_CHARACTERS_MAX = 200

# These patterns are texts: `re` compiles one when it is first used, and most processes never need it.
_IPV6: Final = r"(?i)\[[\da-f:.]+\](?::\d+)?(?:/|$)"


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
    if not at and not place.startswith("/") and not re.match(_IPV6, place):
        place = _from_colon_masked(place, unless=r"\d+(/|[^\w@]*$)")
    return f"{scheme}://{_from_colon_masked(login)}{at}{place}{query and '?***'}"


_PORT: Final = r"\d+(?:[/?\s,;'\")\]]|$)"
_LOGIN: Final = rf"(?<![^\s'\"(\[{{])[^\s:'\"(\[{{]*:(?!//)(?:[^\s@]+|(?!{_PORT})\S[^\n]*)@\S*"
"""A user, a password and a host without a scheme. The last `@` of the line ends the password, which may have spaces."""
_URL: Final = rf"(?<![\w+.-])[\w+.-]*://(?:[^\s/@:]*:(?!{_PORT})[^\n]*@)?\S*?(?=[.,;:'\")\]}}>]*(?:\s|$))"
_URL_LOGIN: Final = rf"(://[^\s/@:]*:)(?!{_PORT})[^\s/]+@"
_ENCODED_COLON: Final = r"(?i)%(?:25)*3A"
_ENCODED_AT: Final = r"@|%(?:25)*40"
_ORACLE: Final = r"(?<![\w./:-])([\w$#]+)/[^\s/@]+@(?=[\w/\[])"
_LIBPQ: Final = r"""(host ?name ")[^\s"]*@|((?:missing "=" after|integer value) ")[^"]*(?=")"""
"""What libpq quotes of an address in which a password has an `@`, and of a text that is no DSN."""
_AUTHORIZATION: Final = r"(?i)\b(Basic|Bearer)\s+[\w+/=.~-]{8,}"

_NAME: Final = (
    r"(?:(?:passw(?:or)?d|passphrase|passcode|pwd|secret|token|api_?key|access_?key)\w{0,40}|(?<![^\W_])pass)"
)
_NAMED: Final = rf"""(?ix)
    ( {_NAME} (?: \\*['"]\]? \s* [,=:]{{1,2}}>? | \s* [=:]{{1,2}}>? | %(?:25)*3[AD] ) \s*
    | --[\w-]*pass[\w-]* \s+
    | (?: \bpassword | \bidentified\b [^'"]{{0,60}} \bby ) \s+ (?=['"]) )
    (?! (?:YES|NO)\) (?:[\s"',]|$) )          # What MySQL says of a login: (using password: YES)
    (?: \*{{3}}(?=[\s)}}\]"',&;]|$)              # It is masked already.
    | [bruf]{{0,2}} (?: '(?:[^'\\\n]|\\+[^\\]|'')*'? | "(?:[^"\\\n]|\\+[^\\]|"")*"? )
    | (?P<escape>\\+) (?P<quote>['"]) [^\n]*? (?: (?<!\\)(?P=escape)(?P=quote) | (?=\n) | $ ) | \{{(?:[^}}]|\}}\}})*\}}?
    | [^;=\n]*(?=;) | \S+ )
    """
"""A name such as `password`, and its value: of a DSN, an environment variable, a dict, JSON, SQL or a command line."""

_MARK: Final = r"(?i)[@=:'\"%]|--|basic|bearer"
"""A text without any of these has no password that is found, such as the name of a unit of work or a thread."""
_WORD: Final = r"(?i)pass|pwd|secret|token|key|identified|basic|bearer"
"""One of these is in all that `_NAMED` and `_AUTHORIZATION` find."""

_CHECKED_CHARACTERS_MAX: Final = 10_000
"""A longer text is cut, at a space: a password may not be found if its end is cut off."""


def without_passwords(text: str) -> str:
    """Return a text of another library, a driver or an application with its passwords masked.

    Passwords are found by what is around them: in URLs, also without a scheme or percent-encoded, beside a name such
    as `password` or `PGPASSWORD`, and in an Authorization header. What is only a word among others is not found. Where
    it is not certain which part is the password, more is hidden than needed.

    Args:
        text: Any text; one of more than 10,000 characters is cut.
    """
    if re.search(_MARK, text) is None:
        return text
    if len(text) > _CHECKED_CHARACTERS_MAX:
        text = text[:_CHECKED_CHARACTERS_MAX].rpartition(" ")[0]
    has_word = re.search(_WORD, text) is not None
    if has_word:
        text = re.sub(_NAMED, r"\1***", text)
    if '"' in text:
        text = re.sub(_LIBPQ, lambda found: f"{found[1]}***@" if found[1] else f"{found[2]}***", text)
    if "://" in text:
        text = re.sub(_URL, lambda found: masked(found[0]), text)
    if has_word:
        text = re.sub(_AUTHORIZATION, r"\1 ***", text)
    if "@" in text or "%" in text:
        text = re.sub(r"\S+", _masked_if_encoded, text)
        text = re.sub(_LOGIN, _masked_login, text)
        text = re.sub(_ORACLE, r"\1/***@", text)
    return text


def without_logins(text: str) -> str:
    """Return a text of the application's code, such as a route, with the passwords of URLs masked and nothing else.

    Args:
        text: Any text.
    """
    return re.sub(_URL_LOGIN, r"\1***@", text) if "://" in text else text


def _masked_login(found: re.Match[str]) -> str:
    login, _, place = found[0].rpartition("@")
    place, query, _ = place.partition("?")
    return f"{_from_colon_masked(login)}@{place}{query and '?***'}"


def _masked_if_encoded(found: re.Match[str]) -> str:
    colon = re.search(_ENCODED_COLON, found[0])
    return found[0] if colon is None or re.search(_ENCODED_AT, found[0][colon.end() :]) is None else "***"


def traceback_without_passwords(error: BaseException) -> str:
    """Return the traceback of an error and its causes for a log, which gets no error object: its text may be secret."""
    return without_passwords("".join(format_exception(error)).rstrip())


def may_have_password(text: str) -> bool:
    """Return whether a text, such as an application's error, may quote a URL with a password, or a password."""
    has_word = re.search("://|passw|pwd|secret|token", text, re.IGNORECASE) is not None
    return has_word or text != without_passwords(text)


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
        fault: What is wrong with it, as what it must be.
    """

    key: str
    value: str | None
    fault: str

    def __post_init__(self) -> None:
        """Mask the value if it is a URL or like one, whatever its key, and cut it at 200 characters."""
        if self.value is not None:
            is_url = self.key.endswith("URL") or "://" in self.value or re.search(_LOGIN, self.value) is not None
            shown = masked(self.value) if is_url else without_passwords(self.value)
            object.__setattr__(self, "value", shown[:SHOWN_CHARACTERS_MAX])

    def __str__(self) -> str:
        given = self.key if self.value is None else f"{self.key}={self.value!r}"
        return f"{given}: {self.fault}"


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
