"""The options of a push over OTLP: command line arguments and OpenTelemetry's environment variables.

The exporters read most variables themselves: endpoint, headers, compression, certificates, timeout. This module reads
those that they leave to an SDK. A wrong option is a SettingsError. Nothing here may push.
"""

import argparse
import os
import socket
import threading
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pool_exporter.environment import seconds, seconds_argument
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

INTERVAL_SECONDS_MIN: Final = 0.001

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
    """Add the arguments of a push to a command's parser."""
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
        type=seconds_argument(INTERVAL_SECONDS_MIN),
        help=f"(default: {_INTERVAL}, in milliseconds, or 60)",
    )


def create_push(arguments: argparse.Namespace, source: Source, directory: Path | None = None) -> "OtlpPush | None":
    """Create what pushes snapshots over OTLP, as the arguments say.

    Args:
        arguments: The parsed arguments of `add_arguments`.
        source: Returns the snapshot to push.
        directory: Where deltas that arrived are noted for a restart.

    Returns:
        The pusher, not started; None without `--otlp`.

    Raises:
        SettingsError: An argument or a variable is wrong.
    """
    if arguments.otlp is None:
        return None
    target = push_target(arguments.otlp, arguments.otlp_protocol, arguments.otlp_interval)
    from pool_exporter.otel.delta_memory import DeltaMemory
    from pool_exporter.otel.otlp_push import OtlpPush

    if directory is not None and target.deltas:
        target = replace(target, memory=DeltaMemory(directory, target.name))
    return OtlpPush(source, target)


def push_target(
    endpoint: str = "",
    protocol: str | None = None,
    interval_seconds: float | None = None,
    environ: Mapping[str, str] | None = None,
) -> "PushTarget":
    """Return where and how to push.

    Args:
        endpoint: URL of the collector; empty for the environment's.
        protocol: `http/protobuf` or `grpc`; None for the environment's.
        interval_seconds: The time between two pushes; None for the environment's.
        environ: The variables that this module reads, by default `os.environ`. The exporters read `os.environ`.

    Raises:
        SettingsError: Options or variables are wrong, or a package is missing. The error names all that are wrong.
    """
    environ = os.environ if environ is None else environ
    problems: list[Problem] = []
    protocol = protocol or _first(environ, *_PROTOCOLS) or HTTP
    if protocol not in _MODULES:
        problems.append(Problem(_PROTOCOLS[1], protocol, f"must be {' or '.join(_MODULES)}"))
    if endpoint and not _is_url(endpoint):
        problems.append(Problem("--otlp", endpoint, "must be a URL such as http://localhost:4318"))
    deltas = _deltas(environ, problems)
    seconds_between = _interval(environ, problems) if interval_seconds is None else interval_seconds
    if problems:
        raise SettingsError(*problems)
    exporter = _exporter(endpoint, protocol)
    from pool_exporter.otel.otlp_push import PushTarget

    name = endpoint or _first(environ, *_ENDPOINTS) or "localhost"
    return PushTarget(name, exporter, _resource(environ), min(seconds_between, threading.TIMEOUT_MAX), deltas)


def _is_url(text: str) -> bool:
    try:
        return urlsplit(text).scheme in ("http", "https")
    except ValueError:  # Such as `http://[::1`.
        return False


def _exporter(endpoint: str, protocol: str) -> "MetricExporter":
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


def _deltas(environ: Mapping[str, str], problems: list[Problem]) -> frozenset[Kind]:
    preference = _first(environ, _PREFERENCE) or "cumulative"
    if preference.lower() not in _DELTAS:
        problems.append(Problem(_PREFERENCE, preference, f"must be one of {', '.join(_DELTAS)}"))
    return _DELTAS.get(preference.lower(), frozenset())


def _interval(environ: Mapping[str, str], problems: list[Problem]) -> float:
    """Return the seconds of the variable, which is in milliseconds."""
    text = _first(environ, _INTERVAL) or "60000"
    try:
        return seconds(text, INTERVAL_SECONDS_MIN * 1000) / 1000
    except ValueError:
        problems.append(Problem(_INTERVAL, text, "must be milliseconds, at least 1"))
        return 60.0


def _resource(environ: Mapping[str, str]) -> "Resource":
    """Return the resource of the environment. Its instance id, unless given, is the same after each restart."""
    from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource

    from pool_exporter.otel.service_resources import with_service

    given = environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create()
    if "OTEL_SERVICE_NAME" not in environ and f"{SERVICE_NAME}=" not in given:
        resource = resource.merge(Resource({SERVICE_NAME: _SERVICE}))
    if f"{SERVICE_INSTANCE_ID}=" in given:
        return resource
    return with_service(resource, socket.gethostname(), str(resource.attributes[SERVICE_NAME]))


def _first(environ: Mapping[str, str], *keys: str) -> str:
    """Return the first variable that is set; as OpenTelemetry defines it, an empty one is unset."""
    return next((environ[key].strip() for key in keys if environ.get(key, "").strip()), "")
