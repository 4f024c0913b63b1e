"""Reads one page over HTTP for the commands that take a URL. Standard library only.

A user name and a password in the URL become a header and are in no message.
"""

import base64
import urllib.error
import urllib.request
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from pool_exporter.errors import Problem, SettingsError

SECONDS: Final = 30.0
"""How long a server may take to answer."""


def read_text(argument: str, url: str, seconds: float = SECONDS) -> str:
    """Return the body of the answer to a GET of *url*.

    Args:
        argument: The argument that has the URL, for the message.
        url: An http or https URL.
        seconds: How long to wait.

    Raises:
        SettingsError: The URL is malformed, or what it names does not answer with 200.
    """
    try:
        with urllib.request.urlopen(_request(url), timeout=seconds) as response:  # noqa: S310  # _request checks it
            body: bytes = response.read()
    except urllib.error.HTTPError as error:
        raise _problem(argument, url, f"answers {error.code} {error.reason}") from None
    except (OSError, ValueError) as error:
        raise _problem(argument, url, f"cannot be read: {getattr(error, 'reason', error)}") from None
    return body.decode("utf-8", "replace")


def _request(url: str) -> urllib.request.Request:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must be a URL such as http://localhost:10042/metrics")
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    request = urllib.request.Request(bare, headers={"User-Agent": "pool-exporter"})  # noqa: S310  # checked above
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    return request


def _problem(argument: str, url: str, fault: str) -> SettingsError:
    return SettingsError(Problem(argument, url, fault))
