"""SQLAlchemy engine plugin: `create_engine("postgresql+asyncpg://…?plugin=pool_exporter")` instruments the engine.

Its options are in the URL, are removed from it before the driver gets it, and become arguments of `instrument()`:
`pool_exporter_name` and `pool_exporter_service`. A wrong option is logged and ignored: the URL is configuration, which
may not keep an application from starting for the sake of its monitoring.
"""

import logging
from typing import Final

from sqlalchemy.engine import URL, CreateEnginePlugin, Engine

from pool_exporter.runtime.instrumentation import instrument

_log = logging.getLogger("pool_exporter")

_PREFIX: Final = "pool_exporter_"
_KNOWN: Final = ("pool_exporter_name", "pool_exporter_service")


class PoolExporterPlugin(CreateEnginePlugin):
    """Instruments the engine that is being created."""

    def __init__(self, url: URL, kwargs: dict[str, object]) -> None:
        """Read the options from the URL; one that does not exist or is given twice is one line of level ERROR."""
        super().__init__(url, kwargs)
        given = {key: value for key, value in url.query.items() if key.startswith(_PREFIX)}
        wrong = [key for key, value in given.items() if key not in _KNOWN or not isinstance(value, str)]
        if wrong:
            allowed = " and ".join(_KNOWN)
            _log.error("ignored in a database URL: %s; the options are %s, each once", ", ".join(wrong), allowed)
        self._keys = list(given)
        self._name, self._service = (str(given[key]) if key in given and key not in wrong else None for key in _KNOWN)

    def update_url(self, url: URL) -> URL:
        """Return the URL without the options, as the driver gets it."""
        return url.difference_update_query(self._keys)

    def engine_created(self, engine: Engine) -> None:
        """Instrument the new engine."""
        instrument(engine, self._name, self._service)
