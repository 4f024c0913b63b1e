"""The arguments of the OTLP push and OpenTelemetry variables decide what is pushed; errors name the option."""

import argparse
import socket
import sys

import pytest
from opentelemetry.sdk.resources import Resource

from pool_exporter.arguments import problems_of
from pool_exporter.environment import SECONDS_MAX, process_environ
from pool_exporter.errors import SettingsError
from pool_exporter.metrics.metric import Kind
from pool_exporter.otel import otlp_options
from pool_exporter.otel.otlp_push import OtlpPush
from pool_exporter.otel.points import GROWING
from pool_exporter.otel.service_resources import with_service
from tests.golden import SNAPSHOT


def asked(*arguments: str) -> argparse.Namespace:
    """Parse arguments as `serve` would."""
    parser = argparse.ArgumentParser()
    otlp_options.add_arguments(parser)
    return parser.parse_args(arguments)


def pusher(*arguments: str) -> OtlpPush:
    """Return the configured pusher."""
    target = otlp_options.from_arguments(asked(*arguments), process_environ())

    assert target is not None
    return otlp_options.create_push(target, lambda: SNAPSHOT)


def test_nothing_is_pushed_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the argument there is no pusher, whatever the environment says for others."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:1")

    assert otlp_options.from_arguments(asked(), process_environ()) is None


@pytest.mark.parametrize(
    ("preference", "expected"),
    [("", frozenset()), ("CUMULATIVE", frozenset()), ("delta", GROWING), ("LowMemory", frozenset({Kind.HISTOGRAM}))],
)
def test_temporality(preference: str, expected: frozenset[Kind], monkeypatch: pytest.MonkeyPatch) -> None:
    """The preference is OpenTelemetry's, in any case; what goes up and down is cumulative under all."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", preference)

    assert expected == otlp_options.push_target(process_environ(), "http://localhost:1").deltas


def test_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interval is a minute, or the environment's milliseconds, or the argument's seconds."""
    url = "http://localhost:1"
    found = [otlp_options.push_target(process_environ(), url).interval_seconds]
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "2500")
    found += [
        otlp_options.push_target(process_environ(), url).interval_seconds,
        otlp_options.push_target(process_environ(), url, interval_seconds=7).interval_seconds,
    ]

    assert [60, 2.5, 7] == found


def test_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resource is the environment's, with an instance that a restart does not change, unless one is given."""
    url = "http://localhost:1"
    first, second = (otlp_options.push_target(process_environ(), url).resource.attributes for _ in range(2))
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=mine,deployment.environment=test")
    given = otlp_options.push_target(process_environ(), url).resource.attributes

    assert "pool_exporter" == first["service.name"]
    assert first["service.instance.id"] == second["service.instance.id"]
    assert ("shop", "mine", "test") == tuple(
        given[key] for key in ("service.name", "service.instance.id", "deployment.environment")
    )


@pytest.mark.parametrize(
    ("name", "attributes", "expected", "has_own_id"),
    [
        ("", "", "pool_exporter", False),
        (" ", "service.name=shop", "shop", False),
        (" web ", "service.name=shop", "web", False),
        ("", "peer.service.name=x", "pool_exporter", False),
        ("", "peer.service.instance.id=x,service.name = shop%20two ,service.name.first=x", "shop two", False),
        ("", "service.name=,service.instance.id=", "pool_exporter", False),
        ("", "service.name,service.instance.id", "pool_exporter", False),
        ("", "service.instance.id = a%2Cb ", "pool_exporter", True),
    ],
)
def test_service_of_the_environment(
    name: str, attributes: str, expected: str, has_own_id: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty value is not given, as OpenTelemetry defines it, and an attribute whose name only ends so is another."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", name)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", attributes)
    found = otlp_options.push_target(process_environ(), "http://localhost:1").resource.attributes
    derived = with_service(Resource({}), socket.gethostname(), expected).attributes["service.instance.id"]

    assert (expected, "a,b" if has_own_id else derived) == (found["service.name"], found["service.instance.id"])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("OTEL_METRIC_EXPORT_INTERVAL", "soon", "must be milliseconds, at least 1"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0", "must be milliseconds, at least 1"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "inf", "must be milliseconds, at least 1"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "must be http/protobuf or grpc"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json", "must be http/protobuf or grpc"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "both", "must be one of cumulative, delta, lowmemory"),
    ],
)
def test_a_bad_variable_is_named(key: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable, its value and what is allowed."""
    monkeypatch.setenv(key, value)
    with pytest.raises(SettingsError) as raised:
        otlp_options.push_target(process_environ(), "http://localhost:1")

    assert f"{key}={value!r}: {message}" == str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--otlp", "localhost:4318"], "--otlp='localhost:4318': must be a URL such as http://localhost:4318"),
        (["--otlp", "http://[::1"], "--otlp='http://[:***': must be a URL such as http://localhost:4318"),
    ],
)
def test_a_bad_argument_is_named(arguments: list[str], message: str) -> None:
    """The error names the argument, its value and what is allowed."""
    with pytest.raises(SettingsError) as raised:
        pusher(*arguments)

    assert message == str(raised.value)


def test_a_bad_protocol_of_a_caller_is_named() -> None:
    """The error names the option, not a variable that is not set."""
    with pytest.raises(SettingsError, match=r"^--otlp.protocol='http/json': must be http/protobuf or grpc$"):
        otlp_options.push_target({}, "http://localhost:1", "http/json")


@pytest.mark.parametrize("interval", ["-1", "0", "nan", "inf", "soon"])
def test_a_bad_interval_is_named(interval: str) -> None:
    """The interval is checked with the other arguments of the command line."""
    found = problems_of(asked("--otlp", f"--otlp.interval={interval}", "--otlp.protocol=json"))

    assert [
        f"--otlp.interval={interval!r}: must be seconds, at least 0.001, or a time such as 500ms, 90s or 5m",
        "--otlp.protocol='json': must be http/protobuf or grpc",
    ] == list(map(str, found))


def test_everything_wrong_is_named_at_once() -> None:
    """One error has all wrong options and variables of the environment that is passed in."""
    environ = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
        "OTEL_METRIC_EXPORT_INTERVAL": "soon",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "both",
    }
    with pytest.raises(SettingsError) as raised:
        otlp_options.push_target(environ, "localhost:4318")

    assert {*environ, "--otlp"} == {problem.key for problem in raised.value.problems}


def test_an_interval_is_at_most_what_a_thread_can_wait() -> None:
    """A longer interval is the longest duration that is used."""
    environ = {"OTEL_METRIC_EXPORT_INTERVAL": "1e300"}

    assert SECONDS_MAX == otlp_options.push_target(environ, "http://localhost:1").interval_seconds


@pytest.mark.parametrize(("protocol", "extra"), [("http/protobuf", "otel"), ("grpc", "otel-grpc")])
def test_a_missing_package_is_named(protocol: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra that brings the package."""
    module, _ = otlp_options._MODULES[protocol]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SettingsError, match=rf"needs a package .*: pip install 'pool-exporter\[{extra}\]'"):
        pusher("--otlp", "http://localhost:1", "--otlp.protocol", protocol)
