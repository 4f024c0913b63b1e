"""The door without code: `create_engine("postgresql+asyncpg://…?plugin=pool_exporter")`.

Its options stand in the URL, are taken out of it before the driver sees it, and become arguments of `instrument()`:
`pool_exporter_name` and `pool_exporter_service`.
"""

from typing import Any, Final

from sqlalchemy.engine import URL, CreateEnginePlugin, Engine

from pool_exporter.errors import Problem, SettingsError
from pool_exporter.runtime.monitor import instrument

_PREFIX: Final = "pool_exporter_"
_OPTIONS: Final = ("name", "service")


class PoolExporterPlugin(CreateEnginePlugin):
    """Instruments the engine that is being created."""

    def __init__(self, url: URL, kwargs: dict[str, Any]) -> None:
        """Read the options from the URL; raise SettingsError for one that does not exist or is given twice."""
        super().__init__(url, kwargs)
        self._options = {name: url.query.get(_PREFIX + name) for name in _OPTIONS}
        known = {_PREFIX + name for name in _OPTIONS}
        problems = [
            Problem(key, str(value), f"the plugin's options are {', '.join(sorted(known))}, each once")
            for key, value in url.query.items()
            if key.startswith(_PREFIX) and (key not in known or not isinstance(value, str))
        ]
        if problems:
            raise SettingsError(*problems)

    def update_url(self, url: URL) -> URL:
        """Take the options out of the URL that the driver gets."""
        return url.difference_update_query([_PREFIX + name for name in _OPTIONS])

    def engine_created(self, engine: Engine) -> None:
        """Instrument the new engine."""
        instrument(engine, **self._options)  # type: ignore[arg-type]  # __init__ refused what is not text
