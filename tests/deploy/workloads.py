"""Five workloads as others have them, with components applied by Kustomize, and their parts."""

import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from tests.dashboards.boards import ROOT
from tests.fixtures.programs import require

Json = dict[str, Any]

KUBERNETES = ROOT / "deploy" / "kubernetes"
COMPONENTS = KUBERNETES / "components"
FOREIGN = {path.stem: yaml.safe_load(path.read_text()) for path in (Path(__file__).parent / "foreign").glob("*.yaml")}
"""Five workloads as others have them, by their kind in lower case."""
SERVICES = ("daemonset", "deployment", "statefulset")
JOBS = ("cronjob", "job")
SIDECARS = {
    "sidecar-classic": SERVICES,
    "sidecar-classic-group": SERVICES,
    "sidecar-native": (*SERVICES, *JOBS),
    "sidecar-native-group": (*SERVICES, *JOBS),
    "sidecar-native-jobs": JOBS,
    "sidecar-native-jobs-group": JOBS,
}
"""The components with a sidecar, and the workloads to which each adds one."""
ADDED = "pool-exporter"
"""The name of the container, of the volume, and of the label of a pod."""

_APPLIED: dict[tuple[tuple[str, ...], bool, str], dict[str, Json]] = {}
"""What was applied already, of the project's own components: kubectl takes a second for it."""


def build(directory: Path) -> list[Json]:
    """Return what `kubectl apply -k` would send."""
    done = subprocess.run([require("kubectl"), "kustomize", directory], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
    return list(yaml.safe_load_all(done.stdout))


def applied(tmp_path: Path, *components: str, has_label: bool = True, more: str = "") -> dict[str, Json]:
    """Return the foreign workloads with components applied, by their kind.

    Args:
        tmp_path: Where the kustomization is written.
        components: Their names, or paths that are relative to *tmp_path*.
        has_label: Whether the workloads have the label that the components select.
        more: A part of the kustomization, such as the patches of a guide.
    """
    names = (components, has_label, more)
    if any((tmp_path / each).exists() for each in components):
        return _applied(tmp_path, *names)
    if names not in _APPLIED:
        _APPLIED[names] = _applied(tmp_path, *names)
    return deepcopy(_APPLIED[names])


def _applied(tmp_path: Path, components: tuple[str, ...], has_label: bool, more: str) -> dict[str, Json]:
    resources = deepcopy(FOREIGN)
    for name, resource in resources.items():
        if not has_label:
            del resource["metadata"]["labels"]
        (tmp_path / f"{name}.yaml").write_text(yaml.dump(resource))
    to_root = Path(*[".."] * (len(tmp_path.parts) - 1))
    content = {
        "resources": [f"{name}.yaml" for name in resources],
        "components": [
            each if (tmp_path / each).exists() else str(to_root / COMPONENTS.relative_to("/") / each)
            for each in components
        ],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.dump(content) + more)
    return {found["kind"].lower(): found for found in build(tmp_path) if found["kind"].lower() in FOREIGN}


def template(found: Json) -> Json:
    """Return the template of a workload's pods."""
    spec = found["spec"]
    return dict(spec["jobTemplate"]["spec"]["template"] if "jobTemplate" in spec else spec["template"])


def pod(found: Json) -> Json:
    """Return the specification of a workload's pods."""
    return dict(template(found)["spec"])


def sidecar(found: Json) -> Json:
    """Return the sidecar's container."""
    containers = [*pod(found).get("containers", ()), *pod(found).get("initContainers", ())]
    (container,) = [each for each in containers if each["name"] == ADDED]
    return dict(container)
