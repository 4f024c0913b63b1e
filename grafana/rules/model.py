"""Recording rules, alerts and groups, and their YAML. No metric may be here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from grafana.promql import INSTANCE, JOB, POOL

RUNBOOKS: Final = "https://example.org/pool_exporter/docs/runbooks"
"""The address of docs/runbooks; `make dashboards RUNBOOKS=https://…` writes the rules with another one."""

PLACE: Final = ("cluster", "namespace", JOB)
"""The labels of a service. One that a fleet does not have is empty, and costs nothing."""

BY_POOL: Final = ", ".join((*PLACE, POOL))
BY_INSTANCE: Final = ", ".join((*PLACE, INSTANCE, POOL))
BY_TARGET: Final = ", ".join((*PLACE, INSTANCE))

POOL_TEXT: Final = f"pool {{{{ $labels.{POOL} }}}} of {{{{ $labels.{JOB} }}}}"
INSTANCE_TEXT: Final = f"{POOL_TEXT} on {{{{ $labels.{INSTANCE} }}}}"
TARGET_TEXT: Final = f"{{{{ $labels.{INSTANCE} }}}} of {{{{ $labels.{JOB} }}}}"

_POOL_BOARD: Final = f"/d/sqla-pool-detail?var-job={{{{ $labels.{JOB} }}}}&var-pool={{{{ $labels.{POOL} }}}}"


@dataclass(frozen=True)
class RecordingRule:
    """A recording rule, named as `level:metric:operations`."""

    record: str
    expression: str

    def rule(self, _: str) -> dict[str, Any]:
        """Return the rule as Prometheus reads it."""
        return {"record": self.record, "expr": _Literal(self.expression)}


@dataclass(frozen=True)
class Alert:
    """An alert: name, expression, duration, severity and texts; its runbook has its name."""

    name: str
    expression: str
    hold: str
    severity: str
    summary: str
    description: str
    dashboard: str = _POOL_BOARD
    keep: str = ""
    labels: tuple[tuple[str, str], ...] = ()

    def rule(self, runbooks: str) -> dict[str, Any]:
        """Return the rule as Prometheus reads it."""
        annotations = {
            "summary": self.summary,
            "description": self.description,
            "runbook_url": f"{runbooks}/{self.name}.md",
            "dashboard": self.dashboard,
        }
        rule: dict[str, Any] = {"alert": self.name, "expr": _Literal(self.expression), "for": self.hold}
        if self.keep:
            rule["keep_firing_for"] = self.keep
        return {**rule, "labels": {"severity": self.severity, **dict(self.labels)}, "annotations": annotations}


@dataclass(frozen=True)
class Group:
    """Rules that are evaluated together, in their order."""

    name: str
    rules: Sequence[RecordingRule | Alert]


def text(groups: Sequence[Group], runbooks: str = RUNBOOKS) -> str:
    """Return the rules file."""
    return _yaml(_content(groups, runbooks))


def manifest(groups: Sequence[Group], runbooks: str = RUNBOOKS) -> str:
    """Return the same for the Prometheus operator in Kubernetes."""
    head = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {"name": "pool-exporter"}}
    return _yaml({**head, "spec": _content(groups, runbooks)})


def _content(groups: Sequence[Group], runbooks: str) -> dict[str, Any]:
    return {"groups": [{"name": group.name, "rules": [r.rule(runbooks) for r in group.rules]} for group in groups]}


def _yaml(content: dict[str, Any]) -> str:
    return _HEADING + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)


_HEADING = "# Made by `make dashboards` from grafana/rules and the catalogue of metrics; do not edit.\n"


class _Literal(str):
    """An expression of one or several lines."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes expressions as they are, one line after the other."""


def _literal(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(value), style="|" if "\n" in value else None)


_Dumper.add_representer(_Literal, _literal)
