"""Exact monitoring of SQLAlchemy connection pools for Prometheus and OpenTelemetry.

The names of `__all__` are the public interface. Importing this package imports none of its modules: each name imports
what it needs when it is first used. So the sidecar never loads SQLAlchemy, and an application loads no server that it
does not start.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from pool_exporter.advice.checks.facts import ServerFacts
    from pool_exporter.celery_units import CeleryUnits
    from pool_exporter.compiled import is_compiled
    from pool_exporter.runtime.all_pools import instrument_all
    from pool_exporter.runtime.checking.check import check
    from pool_exporter.runtime.instrumentation import instrument
    from pool_exporter.runtime.monitor import Monitor
    from pool_exporter.units import unit
    from pool_exporter.web.asgi_app import make_asgi_app, metrics_endpoint
    from pool_exporter.web.flask_units import FlaskUnits
    from pool_exporter.web.prometheus_collector import PoolCollector
    from pool_exporter.web.thread_server import start_http_server
    from pool_exporter.web.unit_middleware import UnitMiddleware
    from pool_exporter.web.wsgi_app import make_wsgi_app
    from pool_exporter.web.wsgi_units import WsgiUnitMiddleware

__all__ = [
    "CeleryUnits",
    "FlaskUnits",
    "Monitor",
    "PoolCollector",
    "ServerFacts",
    "UnitMiddleware",
    "WsgiUnitMiddleware",
    "check",
    "instrument",
    "instrument_all",
    "is_compiled",
    "make_asgi_app",
    "make_wsgi_app",
    "metrics_endpoint",
    "start_http_server",
    "unit",
]

_LAZY = {
    "CeleryUnits": "pool_exporter.celery_units",
    "FlaskUnits": "pool_exporter.web.flask_units",
    "Monitor": "pool_exporter.runtime.monitor",
    "PoolCollector": "pool_exporter.web.prometheus_collector",
    "ServerFacts": "pool_exporter.advice.checks.facts",
    "UnitMiddleware": "pool_exporter.web.unit_middleware",
    "WsgiUnitMiddleware": "pool_exporter.web.wsgi_units",
    "check": "pool_exporter.runtime.checking.check",
    "instrument": "pool_exporter.runtime.instrumentation",
    "instrument_all": "pool_exporter.runtime.all_pools",
    "is_compiled": "pool_exporter.compiled",
    "make_asgi_app": "pool_exporter.web.asgi_app",
    "make_wsgi_app": "pool_exporter.web.wsgi_app",
    "metrics_endpoint": "pool_exporter.web.asgi_app",
    "start_http_server": "pool_exporter.web.thread_server",
    "unit": "pool_exporter.units",
}


if not _TYPE_CHECKING:  # A type checker would take any name for one that exists.

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used; return the installed version as `__version__`."""
        if name == "__version__":
            return _import_module("pool_exporter.version").build()["version"]
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(_import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    """Return all names, imported or not."""
    return sorted({*globals(), *__all__})
