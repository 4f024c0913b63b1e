"""Checks of what an application passes to the public functions, before anything is done with it.

Each error names the argument, the class of what was passed, and what is meant. A value is shown only where it cannot be
a secret. Nothing here may import SQLAlchemy, a framework or, unless it is asked for, OpenTelemetry: the sidecar
imports this.
"""

import inspect
from typing import TYPE_CHECKING, Final

from pool_exporter.environment import wait_threshold_ns

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

_REGISTRY: Final = "to have the pools in a registry of prometheus_client, call registry.register(PoolCollector())"
_ENGINE: Final = "call instrument() with the engine; the pages show every pool that is instrumented"


def check_source(source: object) -> None:
    """Return if *source* can return snapshots, or is None.

    Raises:
        TypeError: It is no function.
    """
    if source is None or callable(source):
        return
    hint = _REGISTRY if hasattr(source, "collect") else _ENGINE if hasattr(source, "dispose") else ""
    raise TypeError(
        f"source must be a function that returns a Snapshot, not {type(source).__name__}{hint and f': {hint}'}"
    )


def check_names(name: object, service: object) -> None:
    """Return if the names of a pool and its service are text, or None.

    Raises:
        TypeError: One is another object, such as bytes, which would be shown as `b'…'`.
    """
    for argument, value, example in (("name", name, "orders"), ("service", service, "shop")):
        if value is not None and not isinstance(value, str):
            raise TypeError(f'{argument} must be text such as "{example}", not {type(value).__name__}')


def check_pages(source: object, metrics: object, diagnosis: object) -> None:
    """Return if these are arguments of `make_asgi_app` and `make_wsgi_app`.

    Raises:
        TypeError: One is of the wrong type.
        ValueError: *metrics* is no path.
    """
    check_source(source)
    if not isinstance(metrics, str):
        raise TypeError(f"metrics must be a path such as '/metrics', not {type(metrics).__name__}")
    if not metrics.startswith("/"):
        raise ValueError(f"metrics must begin with a slash, such as '/metrics', not {metrics!r}")
    if not isinstance(diagnosis, bool):  # A text such as "no" would be true, and show holders to everyone.
        raise TypeError(f"diagnosis must be True or False, not {type(diagnosis).__name__}")


def check_wsgi(middleware: str, app: object) -> None:
    """Return if *app* can be an application of WSGI.

    Raises:
        TypeError: It cannot be called, or is an ASGI application.
    """
    if not callable(app):
        raise TypeError(f"{middleware} takes a WSGI application, not {type(app).__name__}")
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__):
        raise TypeError(f"{middleware} takes a WSGI application; for ASGI, add UnitMiddleware to {type(app).__name__}")


def check_asgi(middleware: str, app: object) -> None:
    """Return if *app* can be an application of ASGI.

    Raises:
        TypeError: It cannot be called, or is an application of Flask.
    """
    if hasattr(app, "wsgi_app"):
        raise TypeError(f"{middleware} takes an ASGI application; for {type(app).__name__}, call FlaskUnits(app)")
    if not callable(app):
        raise TypeError(f"{middleware} takes an ASGI application, not {type(app).__name__}")


def check_meter_provider(provider: object) -> None:
    """Return if *provider* is None or an OpenTelemetry MeterProvider, and OpenTelemetry is installed.

    Raises:
        TypeError: It is another object.
        ImportError: OpenTelemetry is missing; the message names the extra.
    """
    if provider is not None:
        _check_provider("meter_provider", provider, "get_meter", "MeterProvider")
        _import_opentelemetry("meter_provider")


def check_tracing(seconds: float | None, provider: "TracerProvider | None") -> None:
    """Return if spans of acquires can be made that take so many *seconds*; None makes no spans.

    Raises:
        TypeError: *seconds* is no number, or *provider* no OpenTelemetry TracerProvider.
        ValueError: *seconds* is negative, infinite or not a number.
        ImportError: OpenTelemetry is missing; the message names the extra.
    """
    if provider is not None:
        _check_provider("tracer_provider", provider, "get_tracer", "TracerProvider")
    if seconds is not None:
        wait_threshold_ns(seconds)
        _import_opentelemetry("trace_waits")


def _check_provider(argument: str, provider: object, method: str, kind: str) -> None:
    if not callable(getattr(provider, method, None)):
        raise TypeError(f"{argument} must be an OpenTelemetry {kind}, not {type(provider).__name__}")


def _import_opentelemetry(argument: str) -> None:
    try:
        import opentelemetry.trace  # noqa: F401  # only whether it is installed is of interest
    except ImportError as error:
        text = f"{argument} needs OpenTelemetry: pip install 'pool-exporter[otel]'"
        raise ImportError(text, name=error.name, path=error.path) from error
