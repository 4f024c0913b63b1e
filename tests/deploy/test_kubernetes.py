"""The Kustomize bases and components build, fit the schemas of Kubernetes, and give the sidecar what it needs."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.rules import ALERTS
from tests.dashboards.boards import BOARDS, ROOT
from tests.deploy.tools import tool
from tests.fixtures.programs import require

KUBERNETES = ROOT / "deploy" / "kubernetes"
COMPONENTS = ("inprocess", "sidecar-classic", "sidecar-native")
VERSIONS = ("1.29", "1.31", "1.34")

JOB = """\
apiVersion: batch/v1
kind: Job
metadata: {name: nightly, labels: {pool-exporter: "true"}}
spec:
  template:
    metadata: {labels: {app.kubernetes.io/name: nightly}}
    spec:
      restartPolicy: Never
      containers: [{name: app, image: nightly}]
"""
OTHER = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: other}
spec:
  selector: {matchLabels: {app: other}}
  template:
    metadata: {labels: {app: other}}
    spec: {containers: [{name: app, image: other}]}
"""


def build(directory: Path) -> list[dict[str, Any]]:
    """Return what `kubectl apply -k` would send."""
    done = subprocess.run([require("kubectl"), "kustomize", directory], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
    return list(yaml.safe_load_all(done.stdout))


def with_component(tmp_path: Path, component: str) -> dict[str, dict[str, Any]]:
    """Return the example's Deployment, a Job, and one without the label, by name, with the component applied."""
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "other.yaml").write_text(OTHER)
    (tmp_path / "deployment.yaml").write_text((KUBERNETES / "example" / "deployment.yaml").read_text())
    relative = Path(*[".."] * (len(tmp_path.parts) - 1)) / KUBERNETES.relative_to("/") / "components" / component
    resources = ["deployment.yaml", "job.yaml", "other.yaml"]
    (tmp_path / "kustomization.yaml").write_text(yaml.dump({"resources": resources, "components": [str(relative)]}))
    return {found["metadata"]["name"]: found for found in build(tmp_path)}


def pod(found: dict[str, Any]) -> dict[str, Any]:
    """Return the specification of a workload's pods."""
    return dict(found["spec"]["template"]["spec"])


def sidecar(found: dict[str, Any], native: bool) -> dict[str, Any]:
    """Return the sidecar's container."""
    where = pod(found)["initContainers" if native else "containers"]
    (container,) = [each for each in where if each["name"] == "pool-exporter"]
    return dict(container)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("component", COMPONENTS)
def test_schemas_of_kubernetes(tmp_path: Path, component: str, version: str) -> None:
    """A Deployment and a Job with a component are valid, with no unknown key."""
    path = tmp_path / "all.yaml"
    path.write_text(yaml.dump_all(with_component(tmp_path, component).values()))
    command: list[str | Path] = [tool("kubernetes-validate"), "-k", version, "--strict", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("component", COMPONENTS)
def test_workload_without_the_label_is_unchanged(tmp_path: Path, component: str) -> None:
    """A Deployment without the label is not changed."""
    assert yaml.safe_load(OTHER) == with_component(tmp_path, component)["other"]


@pytest.mark.parametrize(
    ("component", "name", "native"),
    [("sidecar-classic", "demo", False), ("sidecar-native", "demo", True), ("sidecar-native", "nightly", True)],
    ids=["classic", "native", "native-job"],
)
def test_sidecar(tmp_path: Path, component: str, name: str, native: bool) -> None:
    """It is hardened, cannot make the pod unready, shares the directory with the application, and is scraped."""
    found = with_component(tmp_path, component)[name]
    container = sidecar(found, native)
    (app,) = [each for each in pod(found)["containers"] if each["name"] == "app"]
    security = container["securityContext"]

    assert "readinessProbe" not in container
    assert "startupProbe" not in container
    assert ("Always" if native else None) == container.get("restartPolicy")
    assert (True, True, False) == tuple(
        security[key] for key in ("runAsNonRoot", "readOnlyRootFilesystem", "allowPrivilegeEscalation")
    )
    assert {"drop": ["ALL"]} == security["capabilities"]
    assert {"name": "POOL_EXPORTER_DIR", "value": "/run/pool_exporter"} in app["env"]
    mount = {"name": "pool-exporter", "mountPath": "/run/pool_exporter"}
    assert mount in app["volumeMounts"]
    assert mount in container["volumeMounts"]
    assert ["pool-metrics"] == [port["name"] for port in container["ports"]]
    assert {"medium": "Memory", "sizeLimit": "64Mi"} == pod(found)["volumes"][0]["emptyDir"]
    assert 65532 == pod(found)["securityContext"]["fsGroup"]
    assert pod(found)["automountServiceAccountToken"] is False
    assert "true" == found["spec"]["template"]["metadata"]["labels"]["pool-exporter"]


def test_inprocess(tmp_path: Path) -> None:
    """Without a sidecar, the application's own port is the one that is scraped."""
    found = with_component(tmp_path, "inprocess")["demo"]
    (app,) = pod(found)["containers"]

    assert "pool-metrics" in [port["name"] for port in app["ports"]]


def test_example() -> None:
    """The example has a service, its sidecar, rules and boards in one namespace."""
    found = build(KUBERNETES / "example")
    kinds = [each["kind"] for each in found]

    assert 1 == kinds.count("Deployment")
    assert 1 == kinds.count("PrometheusRule")
    assert len(BOARDS) == kinds.count("ConfigMap")
    assert {"pool-exporter-demo"} == {
        each["metadata"].get("namespace", "pool-exporter-demo") for each in found if each["kind"] != "Namespace"
    }


def test_boards_are_config_maps() -> None:
    """Each board is in a ConfigMap of its own, with the label that Grafana's sidecar selects."""
    maps = [each for each in build(KUBERNETES / "base") if each["kind"] == "ConfigMap"]

    assert {f"{name}.json" for name in BOARDS} == {key for each in maps for key in each["data"]}
    assert {"1"} == {each["metadata"]["labels"]["grafana_dashboard"] for each in maps}


def test_custom_resources() -> None:
    """PodMonitor and PrometheusRule fit the operator's models, with no unknown key."""
    models = pytest.importorskip("cloudcoil.models.prometheus_operator.v1")
    for each in build(KUBERNETES / "base"):
        if each["apiVersion"] == "monitoring.coreos.com/v1":
            model = getattr(models, each["kind"]).model_validate(each)
            dumped = model.model_dump(by_alias=True, exclude_none=True, mode="json")
            assert [] == lost(each, dumped)


def lost(before: Any, after: Any, path: str = "") -> list[str]:
    """Return the path of each key that is in *before* and not in *after*."""
    if isinstance(before, dict):
        gone = [f"{path}.{key}" for key in before if key not in after]
        return gone + [
            each for key in before if key in after for each in lost(before[key], after[key], f"{path}.{key}")
        ]
    if isinstance(before, list):
        return [each for n, item in enumerate(before) for each in lost(item, after[n], f"{path}[{n}]")]
    return []


def test_podmonitor_finds_the_sidecars() -> None:
    """It selects the label and the port that the components set."""
    (monitor,) = [each for each in build(KUBERNETES / "base") if each["kind"] == "PodMonitor"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]

    assert {"pool-exporter": "true"} == monitor["spec"]["selector"]["matchLabels"]
    assert ("pool-metrics", "/metrics") == (endpoint["port"], endpoint["path"])


def test_operators_rules_are_the_same() -> None:
    """The PrometheusRule has every alert that the files have."""
    (rule,) = [each for each in build(KUBERNETES / "base") if each["kind"] == "PrometheusRule"]
    names = {each["alert"] for group in rule["spec"]["groups"] for each in group["rules"] if "alert" in each}

    assert {alert.name for alert in ALERTS} == names
