"""The patches that the guide on deployment gives do what it says. Nothing here runs a program but kubectl."""

import re
from pathlib import Path

import pytest

from tests.dashboards.boards import ROOT
from tests.deploy.workloads import ADDED, KUBERNETES, SERVICES, Json, applied, build, pod, sidecar, template

GUIDE = (ROOT / "docs" / "how-to" / "deploy.md").read_text()


def block(word: str) -> str:
    """Return the block of YAML of the guide that has a *word*."""
    blocks = re.findall(r"^( *)```yaml\n(.*?)^ *```", GUIDE, re.DOTALL | re.MULTILINE)
    (found,) = [
        content.replace(f"\n{indent}", "\n").removeprefix(indent) for indent, content in blocks if word in content
    ]
    return str(found)


def names(containers: list[Json]) -> list[str]:
    """Return the names of containers."""
    return [each["name"] for each in containers]


def environment(container: Json) -> dict[str, object]:
    """Return a container's variables."""
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container.get("env", ())}


@pytest.mark.parametrize("component", ["sidecar-classic", "sidecar-native"])
def test_sidecar_is_changed(tmp_path: Path, component: str) -> None:
    """The patch adds flags, a variable, a user and sizes, and loses none of the component's flags and variables."""
    patch = block("MONITOR_URL")
    if "native" in component:
        patch = patch.replace("containers:", "initContainers:")
    before = applied(tmp_path, component)["deployment"]
    after = applied(tmp_path, component, more=patch)["deployment"]
    old, new = sidecar(before), sidecar(after)
    [volume] = [each for each in pod(after)["volumes"] if each["name"] == ADDED]

    assert (old["command"], ["--database-url=env:MONITOR_URL"]) == (new["command"], new["args"])
    assert {**environment(old), "MONITOR_URL": {"secretKeyRef": {"name": "monitor", "key": "url"}}} == environment(new)
    assert {**old["securityContext"], "runAsUser": 65532} == new["securityContext"]
    assert {**old["resources"], "limits": {"memory": "128Mi"}} == new["resources"]
    assert "16Mi" == volume["emptyDir"]["sizeLimit"]
    for key in ("containers", "initContainers"):
        assert sorted(names(pod(before)[key])) == sorted(names(pod(after)[key]))


def test_default_container_is_one_of_the_pod(tmp_path: Path) -> None:
    """The annotation keeps kubectl at the application, which the patch moves behind the sidecar."""
    after = applied(tmp_path, "sidecar-classic", more=block("MONITOR_URL"))["deployment"]
    application = template(after)["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"]

    assert (ADDED, "web") == (names(pod(after)["containers"])[0], application)


def test_another_container_is_the_application(tmp_path: Path) -> None:
    """With the component before the sidecar's, the container web has the variables, and an injected one has none."""
    (tmp_path / "application-first").mkdir()
    component = block("application-first/").replace("name: orders", "name: shop").replace("name: web", "name: proxy")
    (tmp_path / "application-first" / "kustomization.yaml").write_text(component)
    found = applied(tmp_path, "application-first", "sidecar-classic")
    variables = {each["name"]: set(environment(each)) for each in pod(found["deployment"])["containers"]}

    assert ["proxy", "web", ADDED] == names(pod(found["deployment"])["containers"])
    assert {"POOL_EXPORTER_DIR", "POOL_EXPORTER_FILE_MODE", "LEVEL"} == variables["proxy"]
    assert {"DATABASE_URL"} == variables["web"]
    assert applied(tmp_path, "sidecar-classic")["statefulset"] == found["statefulset"]


def test_operator_is_applied(tmp_path: Path) -> None:
    """Each resource for the operator gets the namespace and the label that a Prometheus selects."""
    to_root = Path(*[".."] * (len(tmp_path.parts) - 1))
    operator = str(to_root / (KUBERNETES / "operator").relative_to("/"))
    text = block("my-prometheus-stack").replace("path/to/pool_exporter/deploy/kubernetes/operator", operator)
    (tmp_path / "kustomization.yaml").write_text(text)
    found = [each["metadata"] for each in build(tmp_path)]

    assert [("monitoring", "my-prometheus-stack")] * 3 == [
        (each["namespace"], each["labels"]["release"]) for each in found
    ]


@pytest.mark.parametrize("component", ["network-policy-allow", "network-policy-protect"])
def test_prometheus_in_another_namespace(tmp_path: Path, component: str) -> None:
    """The patch changes the namespace of each policy."""
    applied(tmp_path, component, more=block("observability"))
    policies = [each for each in build(tmp_path) if each["kind"] == "NetworkPolicy"]
    selectors = [each["spec"]["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"] for each in policies]

    assert [{"kubernetes.io/metadata.name": "observability"}] * len(policies) == selectors
    assert policies


@pytest.mark.parametrize("workload", SERVICES)
def test_port_for_kubectl_is_on_the_loopback_address(tmp_path: Path, workload: str) -> None:
    """`kubectl port-forward` reaches the second address, on which the page shows holders; no scraper reaches it."""
    container = sidecar(applied(tmp_path, "sidecar-classic")[workload])
    addresses = [each.partition("=")[2] for each in container["command"] if each.startswith("--web.listen-address=")]

    assert [":10042", "127.0.0.1:10043"] == addresses
    assert [10042] == [each["containerPort"] for each in container["ports"]]
    assert "10043 of the loopback address" in GUIDE
    assert re.search(r"kubectl port-forward \S+ 10043\b", GUIDE)


def test_components_of_the_guide_exist() -> None:
    """Each component that its table names exists, and the other way round, but for the parts of others."""
    named = set(re.findall(r"^\| (`[^|]*`) \|", GUIDE, re.MULTILINE))
    found = {name for cell in named for name in re.findall(r"`([a-z-]+)`", cell)}
    components = {path.name for path in (KUBERNETES / "components").iterdir() if path.is_dir()}

    assert components - {"shared-directory", "shared-directory-jobs"} == found & components
