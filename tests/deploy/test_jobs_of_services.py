"""Prometheus in Kubernetes gives each service a job of its own, and each pod's name to `instance`."""

import re

import pytest
import yaml

from tests.dashboards.boards import ROOT
from tests.deploy.workloads import KUBERNETES

META = "__meta_kubernetes_pod_"
PODS = [
    (
        {
            "controller_kind": "ReplicaSet",
            "controller_name": "shop-web-7d9f8c5b6",
            "name": "shop-web-7d9f8c5b6-x2x",
        },
        "shop-web",
    ),
    ({"controller_kind": "StatefulSet", "controller_name": "ledger-2", "name": "ledger-2-0"}, "ledger-2"),
    ({"controller_kind": "DaemonSet", "controller_name": "agent", "name": "agent-4fvx2"}, "agent"),
    ({"controller_kind": "Job", "controller_name": "backfill", "name": "backfill-2qk9d"}, "backfill"),
    ({"controller_kind": "Job", "controller_name": "report-29412180", "name": "report-29412180-lm4ts"}, "report"),
    ({"controller_kind": "ReplicaSet", "controller_name": "a-1", "name": "a-1-b", "label_app": "orders"}, "orders"),
    ({"label_app": "a", "label_app_kubernetes_io_name": "orders", "name": "p"}, "orders"),
    ({"name": "alone"}, "before"),
]
"""Labels of pods, and the job that they get; `before` where nothing says a better one."""


def static() -> list[dict[str, object]]:
    """Return the rules of a Prometheus without the operator."""
    content = yaml.safe_load((ROOT / "deploy" / "scrape" / "prometheus-kubernetes.yml").read_text())
    return [each for each in content["scrape_configs"][0]["relabel_configs"] if "action" not in each]


def monitored(name: str) -> list[dict[str, object]]:
    """Return the rules of a PodMonitor, with the names that Prometheus has for their keys."""
    monitor = yaml.safe_load((KUBERNETES / "operator" / f"{name}.yaml").read_text())
    return [
        {re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", key): value for key, value in each.items()}
        for each in monitor["spec"]["podMetricsEndpoints"][0]["relabelings"]
    ]


def relabelled(labels: dict[str, str], rules: list[dict[str, object]]) -> dict[str, str]:
    """Return *labels* after the action `replace` of each rule, as Prometheus' documentation defines it."""
    labels = dict(labels)
    for rule in rules:
        assert {"source_labels", "regex", "target_label"} == set(rule)
        sources = rule["source_labels"]
        assert isinstance(sources, list)
        found = re.fullmatch(str(rule["regex"]), ";".join(labels.get(each, "") for each in sources))
        if found:
            labels[str(rule["target_label"])] = found[1]
    return labels


@pytest.mark.parametrize(("pod", "job"), PODS)
@pytest.mark.parametrize("source", ["static", "podmonitor", "podmonitor-inprocess"])
def test_each_service_is_a_job(source: str, pod: dict[str, str], job: str) -> None:
    """The job is the label app.kubernetes.io/name, else app, else the workload's name; the instance is the pod."""
    rules = static() if source == "static" else monitored(source)
    rules = [each for each in rules if each["target_label"] != "namespace"]
    found = relabelled({"job": "before", **{f"{META}{key}": value for key, value in pod.items()}}, rules)

    assert (job, pod["name"]) == (found["job"], found["instance"])


def test_all_have_the_same_rules() -> None:
    """Sidecars, applications and a Prometheus without the operator get the same jobs."""
    rules = [each for each in static() if each["target_label"] != "namespace"]

    assert [rules] * 2 == [monitored(name) for name in ("podmonitor", "podmonitor-inprocess")]
