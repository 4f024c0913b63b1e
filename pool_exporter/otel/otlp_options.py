"""The options of a push over OTLP: command line arguments and OpenTelemetry's environment variables.

The exporters read most variables themselves: endpoint, headers, compression, certificates, timeout. This module reads
those that they leave to an SDK. A wrong option is a SettingsError. Nothing here may push.
"""

import argparse
import math
import os
import socket
import threading
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pool_exporter.errors import Problem, SettingsError
from pool_exporter.metrics.metric import Kind
from pool_exporter.metrics.snapshot import Source

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.resources import Resource

    from pool_exporter.otel.otlp_push import OtlpPush, PushTarget

HTTP: Final = "http/protobuf"
GRPC: Final = "grpc"
GRPC_POINTS_MAX: Final = 8_000
"""Points in one message. A thousand pools have 50,000 of about 400 bytes, and a gRPC message has at most 4 MiB."""

_PATH: Final = "/v1/metrics"
_MODULES: Final = {
    HTTP: ("opentelemetry.exporter.otlp.proto.http.metric_exporter", "otel"),
    GRPC: ("opentelemetry.exporter.otlp.proto.grpc.metric_exporter", "otel-grpc"),
}
_DELTAS: Final[Mapping[str, frozenset[Kind]]] = {
    "cumulative": frozenset(),
    "delta": frozenset({Kind.COUNTER, Kind.HISTOGRAM}),
    "lowmemory": frozenset({Kind.HISTOGRAM}),
}
_INTERVAL: Final = "OTEL_METRIC_EXPORT_INTERVAL"
_PREFERENCE: Final = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_SERVICE: Final = "pool_exporter"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a command's."""
    parser.add_argument(
        "--otlp",
        metavar="ENDPOINT",
        nargs="?",
        const="",
        help="push to an OpenTelemetry collector, such as http://localhost:4318 (default: OTEL_EXPORTER_OTLP_ENDPOINT)",
    )
    parser.add_argument("--otlp.protocol", dest="otlp_protocol", choices=[*_MODULES], help=f"(default: {HTTP})")
    parser.add_argument(
        "--otlp.interval",
        dest="otlp_interval",
        metavar="SECONDS",
        type=float,
        help=f"(default: {_INTERVAL}, in milliseconds, or 60)",
    )


def create_push(asked: argparse.Namespace, source: Source, directory: Path | None = None) -> "OtlpPush | None":
    """Create what pushes snapshots over OTLP, as the arguments say.

    Args:
        asked: The parsed arguments of `add_arguments`.
        source: Returns the snapshot to push.
        directory: Where deltas that arrived are noted for a restart.

    Returns:
        The pusher, not started; None without `--otlp`.

    Raises:
        SettingsError: An argument or a variable is wrong.
    """
    if asked.otlp is None:
        return None
    target = push_target(asked.otlp, asked.otlp_protocol, asked.otlp_interval)
    from pool_exporter.otel.delta_memory import DeltaMemory
    from pool_exporter.otel.otlp_push import OtlpPush

    if directory is not None and target.deltas:
        target = replace(target, memory=DeltaMemory(directory, target.name))
    return OtlpPush(source, target)


def push_target(
    endpoint: str = "",
    protocol: str | None = None,
    interval_seconds: float | None = None,
) -> "PushTarget":
    """Return where and how to push.

    Args:
        endpoint: URL of the collector; empty for the environment's.
        protocol: `http/protobuf` or `grpc`; None for the environment's.
        interval_seconds: The time between two pushes; None for the environment's.

    Raises:
        SettingsError: An option or variable is wrong, or a package is missing.
    """
    protocol = protocol or _first(*_PROTOCOLS) or HTTP
    if protocol not in _MODULES:
        raise SettingsError(Problem(_PROTOCOLS[1], protocol, f"must be {' or '.join(_MODULES)}"))
    deltas = _deltas()
    interval_seconds = _interval(interval_seconds)
    exporter = _exporter(endpoint, protocol)
    from pool_exporter.otel.otlp_push import PushTarget

    name = endpoint or _first(*_ENDPOINTS) or "localhost"
    return PushTarget(name, exporter, _resource(), interval_seconds, deltas)


def _exporter(endpoint: str, protocol: str) -> "MetricExporter":
    if endpoint and urlsplit(endpoint).scheme not in {"http", "https"}:
        raise SettingsError(Problem("--otlp", endpoint, "must be a URL such as http://localhost:4318"))
    if endpoint and protocol == HTTP:
        endpoint = endpoint.rstrip("/").removesuffix(_PATH) + _PATH
    module, extra = _MODULES[protocol]
    options = {"max_export_batch_size": GRPC_POINTS_MAX} if protocol == GRPC else {}
    try:
        exporter: MetricExporter = import_module(module).OTLPMetricExporter(endpoint=endpoint or None, **options)
    except ImportError as error:
        fault = f"needs a package ({error}): pip install 'pool-exporter[{extra}]'"
        raise SettingsError(Problem("--otlp", None, fault)) from error
    except (OSError, ValueError) as error:
        raise SettingsError(Problem("OTEL_EXPORTER_OTLP_*", None, f"cannot be used: {error}")) from error
    return exporter


def _deltas() -> frozenset[Kind]:
    preference = _first(_PREFERENCE) or "cumulative"
    if preference.lower() not in _DELTAS:
        raise SettingsError(Problem(_PREFERENCE, preference, f"must be {', '.join(_DELTAS)}"))
    return _DELTAS[preference.lower()]


def _interval(seconds: float | None) -> float:
    if seconds is not None:
        return _checked("--otlp.interval", str(seconds), seconds, "must be seconds, more than 0")
    text = _first(_INTERVAL) or "60000"
    try:
        seconds = float(text) / 1000
    except ValueError:
        seconds = math.nan
    return _checked(_INTERVAL, text, seconds, "must be milliseconds, more than 0")


def _checked(key: str, text: str, seconds: float, allowed: str) -> float:
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        raise SettingsError(Problem(key, text, allowed))
    return seconds


def _resource() -> "Resource":
    """Return the resource of the environment. Its instance id, unless given, is the same after each restart."""
    from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource

    from pool_exporter.otel.service_resources import with_service

    given = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create()
    if "OTEL_SERVICE_NAME" not in os.environ and f"{SERVICE_NAME}=" not in given:
        resource = resource.merge(Resource({SERVICE_NAME: _SERVICE}))
    if f"{SERVICE_INSTANCE_ID}=" in given:
        return resource
    return with_service(resource, socket.gethostname(), str(resource.attributes[SERVICE_NAME]))


def _first(*keys: str) -> str:
    """Return the first variable that is set; as OpenTelemetry defines it, an empty one is unset."""
    return next((os.environ[key].strip() for key in keys if os.environ.get(key, "").strip()), "")
