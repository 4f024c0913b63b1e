"""Recording rules and alerts, from the same catalogue and the same expressions as the boards."""

from typing import Final

from grafana.rules import causes, directory, exporter, recording, servers, symptoms, workers
from grafana.rules.model import RUNBOOKS, Alert, manifest, text

_ALERTS: Final = (
    *symptoms.GROUPS,
    *causes.GROUPS,
    *servers.GROUPS,
    *exporter.GROUPS,
    *workers.GROUPS,
    *directory.GROUPS,
)

ALERTS: Final = tuple(rule for group in _ALERTS for rule in group.rules if isinstance(rule, Alert))


__all__ = ["ALERTS", "RUNBOOKS", "files"]


def files(runbooks: str = RUNBOOKS) -> dict[str, str]:
    """Return the rules files, by path under deploy: what is recorded, the alerts, which read it, and both in one."""
    return {
        "prometheus/pool.rules.yaml": text(recording.GROUPS, runbooks),
        "prometheus/pool.alerts.yaml": text(_ALERTS, runbooks),
        "kubernetes/operator/prometheusrule.yaml": manifest((*recording.GROUPS, *_ALERTS), runbooks),
    }
