"""The current web config: the file is read again when it or a certificate changes, and a wrong one is ignored.

`current()` is called for each request and each connection; it costs one `stat` a file. For a wrong file one line is
logged, and `is_stale` is set until the file changes again. A file that no longer has users or a `client_auth_type` is
wrong too: it may be half written. This module knows neither the format (config.py) nor requests.
"""

import logging
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pool_exporter.errors import Problem, SettingsError
from pool_exporter.sidecar.webconfig.config import WebConfig, read
from pool_exporter.sidecar.webconfig.tls import context_of

_log = logging.getLogger("pool_exporter")

_Versions = tuple[tuple[int, int, int] | None, ...]
"""Inode, time of change and size of each file; None if there is no file."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A config and its TLS context, None for plain HTTP."""

    config: WebConfig = field(default_factory=WebConfig)
    context: ssl.SSLContext | None = None


class ReloadedConfig:
    """The config of one file, or the default without a file. Used by one thread only.

    Attributes:
        is_stale: Whether the file has changed to a wrong one, and the config before it still applies.
    """

    def __init__(self, path: Path | None) -> None:
        """Read the file.

        Raises:
            SettingsError: The file or a certificate is wrong. A server does not start without its config.
        """
        self.is_stale = False
        self._path = path
        self._files: tuple[Path, ...] = () if path is None else (path,)
        self._seen: _Versions = ()
        self._loaded = Loaded() if path is None else self._load(path)

    def current(self) -> Loaded:
        """Return the config that applies now."""
        if self._path is not None and _versions(self._files) != self._seen:
            self._reload(self._path)
        return self._loaded

    def _reload(self, path: Path) -> None:
        try:
            self._loaded = self._replacement(path)
        except SettingsError as error:
            self.is_stale = True
            _log.error("the changed web config is ignored, the previous one still applies: %s", error)
        else:
            self.is_stale = False
            _log.info("the web config has been reloaded")

    def _replacement(self, path: Path) -> Loaded:
        loaded = self._load(path)
        if (loaded.context is None) != (self._loaded.context is None):
            raise SettingsError(Problem(str(path), None, "turns TLS on or off, which needs a restart"))
        if (lost := _lost(self._loaded.config, loaded.config)) is not None:
            raise SettingsError(Problem(str(path), None, lost))
        return loaded

    def _load(self, path: Path) -> Loaded:
        """Read the file and its certificates. Versions are noted first: a file that changes meanwhile is read again."""
        seen = _versions((path,))
        self._files, self._seen = (path, *self._files[1:]), seen + _versions(self._files[1:])
        config = read(path)
        if config.tls is None:
            return Loaded(config)
        self._files, self._seen = (path, *config.tls.files), seen + _versions(config.tls.files)
        return Loaded(config, context_of(config.tls))


def _lost(before: WebConfig, after: WebConfig) -> str | None:
    """Return which protection a changed file has lost without turning it off explicitly, or None."""
    if before.users and not after.users and "basic_auth_users" not in after.explicit:
        return "has no basic_auth_users any more: write `basic_auth_users: {}` to turn passwords off"
    if before.tls is None or after.tls is None:
        return None
    if before.tls.client_auth_type != after.tls.client_auth_type and "client_auth_type" not in after.explicit:
        return "has no client_auth_type any more: write `client_auth_type: NoClientCert` to request no certificates"
    if before.tls.client_allowed_sans is not None and after.tls.client_allowed_sans is None:
        return "has no client_allowed_sans any more, which needs a restart"
    return None


def _versions(files: Iterable[Path]) -> _Versions:
    return tuple(map(_version, files))


def _version(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
