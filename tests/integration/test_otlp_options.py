"""OTLP options and a collector: endpoints, protocols, TLS, headers and resources arrive as configured."""

import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pool_exporter.environment import process_environ
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.otel import otlp_options
from tests.fixtures.otlp import Collector, grpc_collector, http_collector
from tests.fixtures.programs import require
from tests.golden import ORDERS
from tests.otel.test_otlp_options import pusher
from tests.telemetry import attributes, decoded, scraped


@pytest.fixture(name="collector")
def _collector() -> Iterator[Collector]:
    with http_collector() as collector:
        yield collector


@pytest.mark.parametrize("end", ["", "/", "/v1/metrics", "/v1/metrics/"])
def test_the_endpoint_is_a_base_url(collector: Collector, end: str) -> None:
    """The argument is what OTEL_EXPORTER_OTLP_ENDPOINT would be; the whole URL does as well."""
    assert pusher("--otlp", collector.endpoint + end).push()
    assert "/v1/metrics" == collector.exports[0].path


def test_a_prefix_is_kept(collector: Collector) -> None:
    """Some databases take OTLP below a path of their own."""
    assert pusher("--otlp", f"{collector.endpoint}/opentelemetry").push()
    assert "/opentelemetry/v1/metrics" == collector.exports[0].path


def test_the_environments_endpoint(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an endpoint the environment's is taken, and headers and compression are its too."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc,x-tenant=shop")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")

    assert pusher("--otlp").push()
    headers = collector.exports[0].headers
    assert ("Basic abc", "shop", "gzip") == (headers["authorization"], headers["x-tenant"], headers["content-encoding"])


@pytest.mark.parametrize("key", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"])
def test_grpc(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol is the environment's choice or the argument's, with gzip and headers as well."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=shop")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    with grpc_collector() as collector:
        assert pusher("--otlp", collector.endpoint, "--otlp.protocol", "grpc").push()
        monkeypatch.setenv(key, "grpc")
        assert pusher("--otlp", collector.endpoint).push()

    assert ["shop"] * 2 == [export.headers["x-tenant"] for export in collector.exports]


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_a_thousand_pools(kind: str) -> None:
    """What is more than a message of gRPC may hold arrives whole, in several."""
    pools = tuple(replace(ORDERS, identity=replace(ORDERS.identity, name=f"pool {number}")) for number in range(1_000))
    snapshot, protocol = Snapshot(pools), otlp_options.HTTP if kind == "http" else otlp_options.GRPC
    with (http_collector if kind == "http" else grpc_collector)() as collector:
        target = otlp_options.push_target(process_environ(), collector.endpoint, protocol)
        assert otlp_options.create_push(target, lambda: snapshot).push()
    arrived = {key for export in collector.exports for key in decoded(export, ORDERS.identity.service)}

    assert set(scraped(snapshot)) == {key for key in arrived if "otlp" not in key[0]}


def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector with a certificate is pushed to when the certificate is known, and not otherwise."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    make: list[str | Path] = [
        require("openssl"),
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ]
    subprocess.run([*make, "-keyout", key, "-out", certificate, *subject], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    for other in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # The HTTP client would prefer these.
        monkeypatch.delenv(other, raising=False)
    with http_collector(context) as collector:
        unknown = pusher("--otlp", collector.endpoint).push()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(certificate))
        known = pusher("--otlp", collector.endpoint).push()

    assert (False, True, 1) == (unknown, known, len(collector.exports))


def test_the_resource_arrives(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says of the resource is on everything that is pushed."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    pusher("--otlp", collector.endpoint).push()
    resources = collector.exports[0].request.resource_metrics

    assert ["test", "test"] == [attributes(each.resource.attributes)["deployment_environment"] for each in resources]
