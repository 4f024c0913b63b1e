"""The network policies select the pods with metrics, and let Prometheus reach them."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.tools import tool
from tests.deploy.workloads import ADDED, COMPONENTS, Json

PROMETHEUS = {"kubernetes.io/metadata.name": "monitoring"}


def policies(name: str) -> list[Json]:
    """Return the policies of a component."""
    return list(yaml.safe_load_all((COMPONENTS / name / "networkpolicy.yaml").read_text()))


@pytest.mark.parametrize("name", ["network-policy-allow", "network-policy-protect"])
def test_fit_the_schema(name: str) -> None:
    """They are valid for Kubernetes, with no unknown key."""
    command: list[str | Path] = [tool("kubernetes-validate"), "-k", "1.34", "--strict"]
    done = subprocess.run(
        [*command, COMPONENTS / name / "networkpolicy.yaml"], capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["network-policy-allow", "network-policy-protect"])
def test_sidecars(name: str) -> None:
    """They select the pods with a sidecar, and let Prometheus reach its port; one opens all other ports to all."""
    policy = policies(name)[0]
    first, *others = policy["spec"]["ingress"]
    open_ports = {
        port
        for rule in others
        for each in rule["ports"]
        if each["protocol"] == "TCP"
        for port in range(each["port"], each["endPort"] + 1)
    }

    assert {ADDED: "true"} == policy["spec"]["podSelector"]["matchLabels"]
    assert ([10042], PROMETHEUS) == (
        [each["port"] for each in first["ports"]],
        first["from"][0]["namespaceSelector"]["matchLabels"],
    )
    assert (set() if name.endswith("allow") else set(range(1, 65536)) - {10042}) == open_ports


def test_pods_that_serve_their_metrics_themselves() -> None:
    """Where other policies deny ingress, Prometheus also reaches the port http of pods of the component inprocess."""
    _, policy = policies("network-policy-allow")
    (rule,) = policy["spec"]["ingress"]
    template = yaml.safe_load((COMPONENTS / "inprocess" / "template.yaml").read_text())["spec"]["template"]

    assert template["metadata"]["labels"] == policy["spec"]["podSelector"]["matchLabels"]
    assert ([{"port": "http", "protocol": "TCP"}], PROMETHEUS) == (
        rule["ports"],
        rule["from"][0]["namespaceSelector"]["matchLabels"],
    )
