"""The errors that pool_exporter raises on purpose: classes and their messages, no decisions, no third-party import.

They are two-sided: whoever reads the message either did it or is the victim of it.

    Exception
    └── PoolExporterError
        ├── UnsupportedError                    ours: the installed SQLAlchemy is not one that this version knows
        ├── SettingsError (also a ValueError)   yours: the environment, `.env` or a URL says something impossible
        └── CorruptFile                         another process's: a file of the shared directory makes no sense

A password in a setting's value is masked when the Problem is built, so that nothing which holds an error holds it.
All of them survive pickling.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SHOWN_CHARACTERS_MAX = 200


def masked(url: str) -> str:
    """Return a database URL fit to be shown: no password and no query, even if it cannot be parsed.

    Where it is not certain which part is the password, more is hidden than needed; a text without `://` is hidden
    whole, because it may be the password itself.
    """
    scheme, mark, rest = url.partition("://")
    if not mark or not re.fullmatch(r"[\w+.-]+", scheme):
        return "***"
    if scheme.startswith("sqlite") and rest.startswith("/"):
        login, at, place = "", "", rest  # A file's path may have any @ and : in it.
    else:
        login, at, place = rest.rpartition("@")
    if "?" in login:
        return f"{scheme}://***"
    place, query, _ = place.partition("?")
    if not at and not place.startswith("/"):
        place = _from_colon_masked(place, unless=r"\d+(/|$)")
    return f"{scheme}://{_from_colon_masked(login)}{at}{place}{query and '?***'}"


def _from_colon_masked(text: str, unless: str = r"(?!)") -> str:
    return re.sub(rf":(?!{unless}).*", ":***", text, flags=re.DOTALL)


class PoolExporterError(Exception):
    """Stand for everything that pool_exporter raises on purpose."""


class UnsupportedError(PoolExporterError):
    """Report an installed package that works in another way than this version of pool_exporter knows."""

    def __init__(self, package: str, missing: list[str]) -> None:
        """Carry the package with its version, and the names that it should have and has not."""
        super().__init__(package, missing)
        self.package = package
        self.missing = missing

    def __str__(self) -> str:
        name = self.package.partition(" ")[0]
        return f"{self.package} has no {', '.join(self.missing)}: upgrade pool_exporter, or install an older {name}"


@dataclass(frozen=True)
class Problem:
    """Name one setting that is wrong: its key, its value as it may be shown, and what is allowed instead.

    The value is None where there is none to show: a key that is unknown or missing, a line of `.env`.
    """

    key: str
    value: str | None
    allowed: str

    def __post_init__(self) -> None:
        """Mask the value if it is a URL, under whichever key it is, and cut it at 200 characters."""
        if self.value is not None:
            shown = masked(self.value) if self.key.endswith("URL") or "://" in self.value else self.value
            object.__setattr__(self, "value", shown[:SHOWN_CHARACTERS_MAX])

    def __str__(self) -> str:
        given = self.key if self.value is None else f"{self.key}={self.value!r}"
        return f"{given}: {self.allowed}"


class SettingsError(PoolExporterError, ValueError):
    """Report every wrong setting at once: one problem is one line, several are a line each under a heading."""

    def __init__(self, *problems: Problem) -> None:
        """Carry the problems in the order given; at least one is needed."""
        if not problems:
            raise TypeError("a SettingsError needs at least one problem")
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return str(self.problems[0])
        return "\n  ".join([f"{len(self.problems)} settings are wrong:", *map(str, self.problems)])


class CorruptFile(PoolExporterError):
    """Report a file that another process wrote, or half wrote, and that cannot be read as what it claims to be."""

    def __init__(self, path: str, fault: str, reason: str = "corrupt") -> None:
        """Carry the path, what is wrong with it, and one of `catalog_exporter.SET_ASIDE` for counting it."""
        super().__init__(path, fault, reason)
        self.path = path
        self.fault = fault
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.fault}"
