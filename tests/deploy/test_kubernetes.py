"""The Kustomize bases and components build, fit the schemas of Kubernetes, and change nothing but what they add."""

import subprocess
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.rules import ALERTS
from tests.dashboards.boards import BOARDS
from tests.deploy.tools import tool
from tests.deploy.workloads import (
    ADDED,
    COMPONENTS,
    FOREIGN,
    JOBS,
    KUBERNETES,
    SERVICES,
    SIDECARS,
    Json,
    applied,
    build,
    pod,
    sidecar,
    template,
)

VARIABLES = ("POOL_EXPORTER_DIR", "POOL_EXPORTER_FILE_MODE")
VERSIONS = ("1.29", "1.31", "1.34")
EACH_ADDED = pytest.mark.parametrize(
    ("component", "workload"), [(component, each) for component, workloads in SIDECARS.items() for each in workloads]
)


def without_what_is_added(found: Json) -> Json:
    """Return a workload without what a component adds."""
    found = deepcopy(found)
    pods = template(found)
    spec, application = pods["spec"], pods["spec"]["containers"][0]
    _remove(pods.setdefault("metadata", {}).get("labels", {}), [ADDED])
    for place, key, names in (
        (spec, "containers", [ADDED]),
        (spec, "initContainers", [ADDED]),
        (spec, "volumes", [ADDED]),
        (application, "volumeMounts", [ADDED]),
        (application, "env", VARIABLES),
    ):
        place[key] = [each for each in place.get(key, ()) if each["name"] not in names]
    return dict(_without_empty(found))


def _remove(mapping: Json, keys: Sequence[str]) -> None:
    for key in keys:
        mapping.pop(key, None)


def _without_empty(value: Any) -> Any:
    """Return *value* without empty lists and mappings among the values of mappings, but for those of volumes."""
    if isinstance(value, list):
        return [_without_empty(each) for each in value]
    if not isinstance(value, dict):
        return value
    cleaned = {key: each if key == "emptyDir" else _without_empty(each) for key, each in value.items()}
    return {key: each for key, each in cleaned.items() if each not in ({}, []) or key == "emptyDir"}


# What the components leave as it is.


def test_foreign_workloads_are_of_each_kind() -> None:
    """There is one of each kind that runs pods, and no two of them have a container of the same name."""
    names = [pod(found)["containers"][0]["name"] for found in FOREIGN.values()]

    assert {*SERVICES, *JOBS} == set(FOREIGN)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("component", SIDECARS)
def test_nothing_but_what_is_added(tmp_path: Path, component: str) -> None:
    """Without what was added, each workload is what it was: users, groups, tokens, probes, the order of lists."""
    after = {name: without_what_is_added(found) for name, found in applied(tmp_path, component).items()}

    assert {name: _without_empty(found) for name, found in FOREIGN.items()} == after


@pytest.mark.parametrize("component", [*SIDECARS, "inprocess"])
def test_workload_without_the_label_is_unchanged(tmp_path: Path, component: str) -> None:
    """A workload without the label is not changed at all."""
    unlabelled = deepcopy(FOREIGN)
    for each in unlabelled.values():
        del each["metadata"]["labels"]

    assert unlabelled == applied(tmp_path, component, has_label=False)


def test_classic_sidecar_leaves_jobs_alone(tmp_path: Path) -> None:
    """An ordinary container would keep a Job from completing; beside it, the component for Jobs may be used."""
    classic = applied(tmp_path, "sidecar-classic")
    both = applied(tmp_path, "sidecar-classic", "sidecar-native-jobs")

    assert {name: FOREIGN[name] for name in JOBS} == {name: classic[name] for name in JOBS}
    assert ["Always"] * 2 == [sidecar(both[name])["restartPolicy"] for name in JOBS]
    assert {name: classic[name] for name in SERVICES} == {name: both[name] for name in SERVICES}


def test_inprocess(tmp_path: Path) -> None:
    """Without a sidecar, only a label of the pods is added, by which a PodMonitor finds the application's own port."""
    found = applied(tmp_path, "inprocess")
    (monitor,) = [each for each in build(KUBERNETES / "operator") if each["metadata"]["name"].endswith("inprocess")]

    assert {"in-process"} == {template(found[name])["metadata"]["labels"][ADDED] for name in SERVICES}
    assert {ADDED: "in-process"} == monitor["spec"]["selector"]["matchLabels"]
    assert {name: _without_empty(FOREIGN[name]) for name in SERVICES} == {
        name: without_what_is_added(found[name]) for name in SERVICES
    }


# What they add.


@EACH_ADDED
def test_sidecar(tmp_path: Path, component: str, workload: str) -> None:
    """It shares a volume of the pod with the first container, is scraped, and no probe of it makes the pod unready."""
    found = applied(tmp_path, component)[workload]
    container, application = sidecar(found), pod(found)["containers"][0]
    mode = "0640" if component.endswith("-group") else "0644"
    mount = {"name": ADDED, "mountPath": "/run/pool_exporter"}
    (volume,) = [each for each in pod(found)["volumes"] if each["name"] == ADDED]

    assert FOREIGN[workload]["metadata"]["name"] != ADDED
    assert pod(FOREIGN[workload])["containers"][0]["name"] == application["name"]
    assert not {"livenessProbe", "readinessProbe", "startupProbe", "args"} & set(container)
    assert (None if "classic" in component else "Always") == container.get("restartPolicy")
    for each in (application, container):
        assert {"POOL_EXPORTER_DIR": "/run/pool_exporter", "POOL_EXPORTER_FILE_MODE": mode}.items() <= {
            variable["name"]: variable.get("value") for variable in each["env"]
        }.items()
        assert mount in each["volumeMounts"]
    assert ["pool-metrics"] == [port["name"] for port in container["ports"]]
    assert {"medium": "Memory", "sizeLimit": "64Mi"} == volume["emptyDir"]
    assert "true" == template(found)["metadata"]["labels"][ADDED]


@EACH_ADDED
def test_native_sidecar_is_first(tmp_path: Path, component: str, workload: str) -> None:
    """It starts before the other init containers, which may use a pool; a classic one is the last container."""
    spec = pod(applied(tmp_path, component)[workload])
    names = [each["name"] for each in spec["containers" if "classic" in component else "initContainers"]]

    assert ADDED == names[-1 if "classic" in component else 0]


@EACH_ADDED
def test_restricted_profiles(tmp_path: Path, component: str, workload: str) -> None:
    """The container meets the profile `restricted`, of Pod Security and of OpenShift, which chooses users itself."""
    security = sidecar(applied(tmp_path, component)[workload])["securityContext"]

    assert {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    } == security


@pytest.mark.parametrize("component", SIDECARS)
def test_group_of_a_pod_is_its_own(tmp_path: Path, component: str) -> None:
    """No component sets fsGroup, which gives a pod's other volumes to that group: each stays, and so does none."""
    found = applied(tmp_path, component)
    groups = {name: pod(each).get("securityContext", {}).get("fsGroup") for name, each in found.items()}

    assert {"cronjob": 2001, "daemonset": None, "deployment": 2000, "job": None, "statefulset": 2002} == groups


def test_services_and_jobs_of_one_group(tmp_path: Path) -> None:
    """Ordinary containers for services and native ones for jobs may be used together, all with files of mode 0640."""
    found = applied(tmp_path, "sidecar-classic-group", "sidecar-native-jobs-group")
    modes = {
        each["value"]
        for one in found.values()
        for container in (sidecar(one), pod(one)["containers"][0])
        for each in container["env"]
        if each["name"] == "POOL_EXPORTER_FILE_MODE"
    }

    assert {"0640"} == modes
    assert [None] * 3 + ["Always"] * 2 == [sidecar(found[name]).get("restartPolicy") for name in (*SERVICES, *JOBS)]


def test_all_sidecars_are_one() -> None:
    """The container is the same in each component that adds it, but for the restart policy of a native one."""
    classic = yaml.safe_load((COMPONENTS / "sidecar-classic" / "patch.yaml").read_text())[0]["value"]
    natives = [
        sidecar(yaml.safe_load(path.read_text()))
        for path in sorted(COMPONENTS.glob("sidecar-native*/*.yaml"))
        if f"name: {ADDED}\n" in path.read_text() and path.stem in (*JOBS, "template")
    ]

    assert [{**classic, "restartPolicy": "Always"}] * 3 == natives


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("components", [(each,) for each in SIDECARS] + [("sidecar-classic", "sidecar-native-jobs")])
def test_schemas_of_kubernetes(tmp_path: Path, components: tuple[str, ...], version: str) -> None:
    """The workloads with the components are valid, with no unknown key, and variables are texts."""
    path = tmp_path / "all.yaml"
    path.write_text(yaml.dump_all(applied(tmp_path, *components).values()))
    command: list[str | Path] = [tool("kubernetes-validate"), "-k", version, "--strict", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr


# The bases and the example.


def test_example() -> None:
    """The example has a service, its sidecar and the boards in one namespace, and needs no custom resource."""
    found = build(KUBERNETES / "example")
    kinds = [each["kind"] for each in found]

    assert ["ConfigMap"] * len(BOARDS) + ["Deployment", "Namespace"] == sorted(kinds)
    assert {"pool-exporter-demo"} == {
        each["metadata"].get("namespace", "pool-exporter-demo") for each in found if each["kind"] != "Namespace"
    }


def test_boards_are_config_maps() -> None:
    """Each board is in a ConfigMap of its own, with the label that Grafana's sidecar selects."""
    maps = build(KUBERNETES / "base")

    assert {"ConfigMap"} == {each["kind"] for each in maps}
    assert {f"{name}.json" for name in BOARDS} == {key for each in maps for key in each["data"]}
    assert {"1"} == {each["metadata"]["labels"]["grafana_dashboard"] for each in maps}


def test_custom_resources() -> None:
    """PodMonitors and PrometheusRule fit the operator's models, with no unknown key."""
    models = pytest.importorskip("cloudcoil.models.prometheus_operator.v1")
    found = build(KUBERNETES / "operator")
    for each in found:
        model = getattr(models, each["kind"]).model_validate(each)
        dumped = model.model_dump(by_alias=True, exclude_none=True, mode="json")

        assert [] == lost(each, dumped)
    assert ["PodMonitor", "PodMonitor", "PrometheusRule"] == sorted(each["kind"] for each in found)


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
    monitor = next(each for each in build(KUBERNETES / "operator") if each["kind"] == "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]

    assert {ADDED: "true"} == monitor["spec"]["selector"]["matchLabels"]
    assert ("pool-metrics", "/metrics") == (endpoint["port"], endpoint["path"])


def test_operators_rules_are_the_same() -> None:
    """The PrometheusRule has every alert that the files have."""
    (rule,) = [each for each in build(KUBERNETES / "operator") if each["kind"] == "PrometheusRule"]
    names = {each["alert"] for group in rule["spec"]["groups"] for each in group["rules"] if "alert" in each}

    assert {alert.name for alert in ALERTS} == names
