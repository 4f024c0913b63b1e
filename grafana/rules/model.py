"""Recording rules, alerts and groups, and their YAML. No metric may be here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from grafana.promql import INSTANCE, JOB, POOL

ON_THE_EXPORTER: Final = "/-/runbooks"
"""Where each exporter that serves pages has the runbooks: a path, to be read on the exporter that the alert names."""

NAME: Final = "NAME"
"""Stands for the name of the alert in the address of the runbooks."""

_PROJECT: Final = Path(__file__).parents[2] / "pyproject.toml"


def documented(pyproject: str) -> str:
    """Return where the documentation of the project has the runbooks; where the exporters have them if it has no URL.

    Args:
        pyproject: The text of pyproject.toml. The URL is `Documentation` of the table `project.urls`.
    """
    urls = re.search(r"^\[project\.urls\]\n((?:[^\[\n].*\n|\n)*)", pyproject, re.MULTILINE)
    url = re.search(r'^Documentation *= *"([^"]+)"', urls[1], re.MULTILINE) if urls else None
    return f"{url[1].rstrip('/')}/runbooks/{NAME}.html" if url else ON_THE_EXPORTER


RUNBOOKS: Final = documented(_PROJECT.read_text("utf-8"))
"""The address of the runbooks; `make dashboards RUNBOOKS=https://…` writes the rules with another one."""

PLACE: Final = ("cluster", "namespace", JOB)
"""The labels of a service. One that a fleet does not have is empty, and costs nothing."""

BY_POOL: Final = ", ".join((*PLACE, POOL))
BY_INSTANCE: Final = ", ".join((*PLACE, INSTANCE, POOL))
BY_TARGET: Final = ", ".join((*PLACE, INSTANCE))

POOL_TEXT: Final = f"pool {{{{ $labels.{POOL} }}}} of {{{{ $labels.{JOB} }}}}"
INSTANCE_TEXT: Final = f"{POOL_TEXT} on {{{{ $labels.{INSTANCE} }}}}"
TARGET_TEXT: Final = f"{{{{ $labels.{INSTANCE} }}}} of {{{{ $labels.{JOB} }}}}"

LOOK: Final = (
    "run pool-exporter diagnose --dir DIR (in Kubernetes: kubectl exec POD -c pool-exporter -- pool-exporter "
    "diagnose), or open the exporter's page on a loopback address"
)
"""How to see what holds the connections. On other addresses the page does not show it."""

_HAS_PORT: Final = f'match ":[0-9]+$" $labels.{INSTANCE}'
_PAGE: Final = f"{{{{ if {_HAS_PORT} }}}}http://{{{{ $labels.{INSTANCE} }}}}/{{{{ end }}}}"
"""The page of an instance that is an address. It is empty for one that is another name, as that of a pod."""

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
    """An alert: name, expression, duration, severity and texts; its runbook has its name.

    Attributes:
        first: What to do first; it is a part of the description, so that a runbook that cannot be read costs little.
        then: What to do after that.
    """

    name: str
    expression: str
    hold: str
    severity: str
    summary: str
    description: str
    first: str
    then: str
    dashboard: str = _POOL_BOARD
    keep: str = ""
    labels: tuple[tuple[str, str], ...] = ()

    def rule(self, runbooks: str) -> dict[str, Any]:
        """Return the rule as Prometheus reads it."""
        annotations = {
            "summary": self.summary,
            "description": f"{self.description} First: {self.first} Then: {self.then}",
            "runbook_url": _runbook(runbooks, self.name),
            "dashboard": self.dashboard,
        }
        if f"$labels.{INSTANCE} " in self.summary:
            annotations["page"] = _PAGE
        rule: dict[str, Any] = {"alert": self.name, "expr": _Literal(self.expression), "for": self.hold}
        if self.keep:
            rule["keep_firing_for"] = self.keep
        return {**rule, "labels": {"severity": self.severity, **dict(self.labels)}, "annotations": annotations}


def _runbook(runbooks: str, name: str) -> str:
    return runbooks.replace(NAME, name) if NAME in runbooks else f"{runbooks.rstrip('/')}/{name}"


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
