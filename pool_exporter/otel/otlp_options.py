"""The options of a push over OTLP: command line arguments and OpenTelemetry's environment variables.

The exporters read most variables themselves: endpoint, headers, compression, certificates, timeout. This module reads
those that they leave to an SDK. A wrong option is a SettingsError. Nothing here may push.
"""

import argparse
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from pool_exporter.arguments import DURATION, AllSettings, CheckedValue, at_least_seconds, http_url, one_of
from pool_exporter.environment import OTEL_SERVICE, OTLP_ENDPOINTS, SECONDS_MAX, seconds
from pool_exporter.errors import Problem, SettingsError, without_passwords
from pool_exporter.metrics.metric import Kind
from pool_exporter.metrics.snapshot import Source
from pool_exporter.otel.explicit_bounds import AGGREGATION, EXPONENTIAL, warn_if_exponential

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
_ATTRIBUTES: Final = "OTEL_RESOURCE_ATTRIBUTES"
_SERVICE: Final = "pool_exporter"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a push to a command's parser."""
    parser.add_argument(
        "--otlp",
        metavar="URL",
        nargs="?",
        const="",
        help="push to an OpenTelemetry collector, such as http://localhost:4318 (default: OTEL_EXPORTER_OTLP_ENDPOINT)",
    )
    parser.add_argument(
        "--otlp.protocol",
        dest="otlp_protocol",
        metavar="PROTOCOL",
        action=CheckedValue,
        convert=one_of(*_MODULES),
        help=f"{' or '.join(_MODULES)} (default: {HTTP})",
    )
    parser.add_argument(
        "--otlp.interval",
        dest="otlp_interval",
        metavar=DURATION,
        action=CheckedValue,
        convert=at_least_seconds(INTERVAL_SECONDS_MIN),
        help=f"time between two pushes (default: {_INTERVAL}, in milliseconds, or 60 s)",
    )


def from_arguments(arguments: argparse.Namespace, environ: Mapping[str, str]) -> "PushTarget | None":
    """Return where and how to push, as the arguments say.

    Args:
        arguments: The parsed arguments of `add_arguments`.
        environ: The environment's variables.

    Returns:
        The target; None without `--otlp`.

    Raises:
        SettingsError: Arguments or variables are wrong. The error names all of them.
    """
    return (
        None
        if arguments.otlp is None
        else push_target(environ, arguments.otlp, arguments.otlp_protocol, arguments.otlp_interval)
    )


def create_push(
    target: "PushTarget",
    source: Source,
    directory: Path | None = None,
    since: Callable[[int], int] | None = None,
) -> "OtlpPush":
    """Create what pushes snapshots over OTLP, not started.

    Args:
        target: Where and how to push.
        source: Returns the snapshot to push.
        directory: Where deltas that arrived are noted for a restart.
        since: Given the present, returns since when the source has counted; see `OtlpPush`.
    """
    from pool_exporter.otel.delta_memory import DeltaMemory
    from pool_exporter.otel.otlp_push import OtlpPush

    if directory is not None and target.deltas:
        target = replace(target, memory=DeltaMemory(directory, target.name))
    return OtlpPush(source, target, since)


def push_target(
    environ: Mapping[str, str], endpoint: str = "", protocol: str | None = None, interval_seconds: float | None = None
) -> "PushTarget":
    """Return where and how to push.

    Args:
        environ: The variables that this module reads. OpenTelemetry's exporters read those of the process themselves.
        endpoint: URL of the collector; empty for the environment's.
        protocol: `http/protobuf` or `grpc`; None for the environment's.
        interval_seconds: The time between two pushes; None for the environment's.

    Raises:
        SettingsError: Options or variables are wrong, or a package is missing. The error names all that are wrong.
    """
    problems: list[Problem] = []
    key, found = ("--otlp.protocol", protocol) if protocol else _first_set(environ, *_PROTOCOLS)
    protocol = found or HTTP
    if protocol not in _MODULES:
        problems.append(Problem(key, protocol, f"must be {' or '.join(_MODULES)}"))
    try:
        endpoint = endpoint and http_url(endpoint)
    except ValueError as error:
        problems.append(Problem("--otlp", endpoint, str(error)))
    deltas = _deltas(environ, problems)
    seconds_between = _interval(environ, problems) if interval_seconds is None else interval_seconds
    settings = AllSettings(*problems)
    exporter_class = settings.read(lambda: _exporter_class(protocol if protocol in _MODULES else HTTP))
    settings.check()
    exporter = _exporter(exporter_class.value, endpoint, protocol)
    from pool_exporter.otel.otlp_push import PushTarget

    warn_if_exponential(is_asked_for=_first(environ, AGGREGATION).lower() == EXPONENTIAL)
    name = endpoint or _first(environ, *OTLP_ENDPOINTS) or "localhost"
    return PushTarget(name, exporter, _resource(environ), seconds_between, deltas)


def _exporter_class(protocol: str) -> Callable[..., "MetricExporter"]:
    name, extra = _MODULES[protocol]
    try:
        exporter_class: Callable[..., MetricExporter] = import_module(name).OTLPMetricExporter
    except ImportError as error:
        fault = f"needs a package ({error}): pip install 'pool-exporter[{extra}]'"
        raise SettingsError(Problem("--otlp", None, fault)) from error
    return exporter_class


def _exporter(exporter_class: Callable[..., "MetricExporter"], endpoint: str, protocol: str) -> "MetricExporter":
    """Return OpenTelemetry's exporter. It reads and checks its own variables, and may log what is wrong with others."""
    if endpoint and protocol == HTTP:
        endpoint = endpoint.rstrip("/").removesuffix(_PATH) + _PATH
    options = {"max_export_batch_size": GRPC_POINTS_MAX} if protocol == GRPC else {}
    try:
        return exporter_class(endpoint=endpoint or None, **options)
    except (OSError, ValueError) as error:
        raise SettingsError(
            Problem("OTEL_EXPORTER_OTLP_*", None, f"cannot be used: {without_passwords(str(error))}")
        ) from error


def _deltas(environ: Mapping[str, str], problems: list[Problem]) -> frozenset[Kind]:
    preference = _first(environ, _PREFERENCE) or "cumulative"
    if preference.lower() not in _DELTAS:
        problems.append(Problem(_PREFERENCE, preference, f"must be one of {', '.join(_DELTAS)}"))
    return _DELTAS.get(preference.lower(), frozenset())


def _interval(environ: Mapping[str, str], problems: list[Problem]) -> float:
    """Return the seconds of the variable, which is in milliseconds."""
    text = _first(environ, _INTERVAL) or "60000"
    try:
        return seconds(text, INTERVAL_SECONDS_MIN * 1000, SECONDS_MAX * 1000) / 1000
    except ValueError:
        problems.append(Problem(_INTERVAL, text, "must be milliseconds, at least 1"))
        return 60.0


def _resource(environ: Mapping[str, str]) -> "Resource":
    """Return the resource of the environment. Its instance id, unless given, is the same after each restart.

    A name or id that is empty is not given.
    """
    from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource

    from pool_exporter.otel.service_resources import with_service

    given = _attributes(_first(environ, _ATTRIBUTES))
    name = _first(environ, OTEL_SERVICE) or given.get(SERVICE_NAME) or _SERVICE
    # It reads OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME and more of the process itself, and takes no mapping.
    resource = Resource.create()
    return with_service(resource, socket.gethostname(), name, given.get(SERVICE_INSTANCE_ID, ""))


def _attributes(text: str) -> dict[str, str]:
    """Return the attributes of a resource, as OpenTelemetry reads them: `key=value,key=value`, percent-encoded."""
    pairs = (each.partition("=") for each in text.split(","))
    return {key.strip(): unquote(value.strip()) for key, _, value in pairs}


def _first(environ: Mapping[str, str], *keys: str) -> str:
    """Return the value of the first variable that is set, "" if none is."""
    return _first_set(environ, *keys)[1]


def _first_set(environ: Mapping[str, str], *keys: str) -> tuple[str, str]:
    """Return the first variable that is set, and its value; as OpenTelemetry defines it, an empty one is unset."""
    return next(((key, environ[key].strip()) for key in keys if environ.get(key, "").strip()), ("", ""))
