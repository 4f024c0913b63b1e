"""The web config file as it is now: read anew when it or a certificate changes, and kept when the new one is broken.

Whoever needs it asks `current()` each time; that costs a few looks at files' times. A broken file is one line in the
log, and `is_stale` until it changes again. Nothing here may know the format (webconfig.py) or a request.
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

_Looks = tuple[tuple[int, int, int] | None, ...]
"""Of each file its inode, time of change and size; None where there is no file."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A config and its TLS context, None for plain HTTP."""

    config: WebConfig = field(default_factory=WebConfig)
    context: ssl.SSLContext | None = None


class ReloadedConfig:
    """One file, or none. Mutable: what was loaded last, and what the files looked like then; one thread asks."""

    def __init__(self, path: Path | None) -> None:
        """Read it. Raises SettingsError for whatever is wrong with it: at the start nothing is served without it."""
        self.is_stale = False
        self._path = path
        self._files: tuple[Path, ...] = () if path is None else (path,)
        self._seen: _Looks = ()
        self._loaded = Loaded() if path is None else self._load(path)

    def current(self) -> Loaded:
        """Return what holds now."""
        if self._path is not None and _looks(self._files) != self._seen:
            self._reload(self._path)
        return self._loaded

    def _reload(self, path: Path) -> None:
        try:
            self._loaded = self._replacement(path)
        except SettingsError as error:
            self.is_stale = True
            _log.error("the web config is kept as it was: %s", error)
        else:
            self.is_stale = False
            _log.info("the web config was read again")

    def _replacement(self, path: Path) -> Loaded:
        loaded = self._load(path)
        if (loaded.context is None) != (self._loaded.context is None):
            raise SettingsError(Problem(str(path), None, "turns TLS on or off, which needs a restart"))
        return loaded

    def _load(self, path: Path) -> Loaded:
        """Read the file and its certificates, having looked at each before: what changes meanwhile is read again."""
        seen = _looks((path,))
        self._files, self._seen = (path, *self._files[1:]), seen + _looks(self._files[1:])
        config = read(path)
        if config.tls is None:
            return Loaded(config)
        self._files, self._seen = (path, *config.tls.files), seen + _looks(config.tls.files)
        return Loaded(config, context_of(config.tls))


def _looks(files: Iterable[Path]) -> _Looks:
    return tuple(map(_look, files))


def _look(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
