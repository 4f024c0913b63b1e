"""A page that an argument of `advise` names. Each fault of it names the argument, and has no password.

Nothing here may know what the page has.
"""

from collections.abc import Mapping
from typing import Final

from pool_exporter.commands.http_page import HttpPage, PageError, url_of
from pool_exporter.errors import Problem, SettingsError

SECONDS: Final = 30.0
"""How long a server may take to connect, and for each part of its answer: a Prometheus needs a while for a week."""
TOTAL_SECONDS: Final = 120.0
"""How long all of that may take."""


class ArgumentPage:
    """One page, and the argument that has its URL.

    Attributes:
        url: Its URL.
        path: The path of the page, with its query.
        origin: Scheme, host and port, without a user name and a password.
    """

    def __init__(self, argument: str, given: str, environ: Mapping[str, str]) -> None:
        """Prepare to read; nothing is opened yet.

        Args:
            argument: The argument's name, such as "--url".
            given: A URL, or `env:NAME`.
            environ: The variables among which NAME is read.

        Raises:
            SettingsError: It is no URL, or the variable is not set.
        """
        self._argument, self._given = argument, given
        try:
            self.url = url_of(given, environ)
            self._page = HttpPage(self.url, SECONDS, TOTAL_SECONDS)
        except ValueError as error:
            raise self.problem(str(error)) from None
        self.path, self.origin = self._page.path, self._page.origin

    def problem(self, fault: str) -> SettingsError:
        """Return the error that says what is wrong with the page."""
        return SettingsError(Problem(self._argument, self._given, fault))

    def text(self, path: str | None = None) -> str:
        """Return the text of a page of the server, by default of this page.

        Raises:
            SettingsError: There is none.
        """
        try:
            return self._page.get(path).decode("utf-8", "replace")
        except PageError as error:
            raise self.problem(str(error)) from None
