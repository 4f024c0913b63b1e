"""Alerts on the shared directory of a sidecar: it cannot be read, no worker writes to it, or it is nearly full."""

from typing import Final

from grafana.promql import Scope, among, by, equal
from grafana.rules.exporter import BOARD
from grafana.rules.model import BY_TARGET, TARGET_TEXT, Alert, Group
from pool_exporter.metrics.exporter_metrics import DIRECTORY_FAULTS
from pool_exporter.metrics.snapshot import PREVENT_READING

ALL: Final = Scope()
FAULT_TEXT: Final = f"{{{{ $labels.{DIRECTORY_FAULTS.prometheus} }}}}"
_READ: Final = "read the sidecar's page, its /-/ready or its log: the directory, the reason and what to do."


def _unreadable() -> Alert:
    faults = ALL.series("directory_faults", among(DIRECTORY_FAULTS, *PREVENT_READING))
    return Alert(
        "PoolExporterDirectoryUnreadable",
        f"{by(f'{BY_TARGET}, {DIRECTORY_FAULTS.prometheus}', faults)} > 0",
        "2m",
        "warning",
        f"The sidecar cannot read its shared directory: {TARGET_TEXT}.",
        f"The fault is {FAULT_TEXT}. No pool of its workers is monitored; the application is not affected.",
        _READ,
        "compare --dir of the sidecar with POOL_EXPORTER_DIR of the application, their volumes and their users.",
        dashboard=BOARD,
    )


def _no_worker() -> Alert:
    faults = ALL.series("directory_faults", equal(DIRECTORY_FAULTS, "no_worker"))
    return Alert(
        "PoolExporterNoWorker",
        f"{by(BY_TARGET, faults)} > 0",
        "5m",
        "warning",
        f"The sidecar has never seen a worker: {TARGET_TEXT}.",
        "No process has written to its shared directory. No pool is monitored; the application is not affected.",
        "look whether the application has POOL_EXPORTER_DIR, with the directory and the volume of the sidecar.",
        "look whether it instruments an engine and uses it, and read its log: logger pool_exporter says why a "
        "directory cannot be used.",
        dashboard=BOARD,
    )


def _nearly_full() -> Alert:
    faults = ALL.series("directory_faults", equal(DIRECTORY_FAULTS, "nearly_full"))
    return Alert(
        "PoolExporterDirectoryNearlyFull",
        f"{by(BY_TARGET, faults)} > 0",
        "5m",
        "warning",
        f"The volume of the shared directory is nearly full: {TARGET_TEXT}.",
        "When it is full, pools of new workers are counted in memory, where the sidecar does not see them.",
        _READ,
        "run df -h and df -i on the directory, and look for files in it that are no worker's; make the volume larger.",
        dashboard=BOARD,
    )


def _two_directories() -> Alert:
    faults = ALL.series("directory_faults", equal(DIRECTORY_FAULTS, "two_directories"))
    return Alert(
        "PoolExporterTwoDirectories",
        f"{by(BY_TARGET, faults)} > 0",
        "5m",
        "info",
        f"The sidecar is given two directories, and reads one: {TARGET_TEXT}.",
        "Its argument --dir and its variable POOL_EXPORTER_DIR differ. Workers of the other directory are not seen.",
        _READ,
        "name one directory; for two, run a sidecar for each.",
        dashboard=BOARD,
    )


GROUPS: Final = (Group("pool-exporter-directory", (_unreadable(), _no_worker(), _nearly_full(), _two_directories())),)
