"""The systemd unit, and the examples of scrapes, by systemd's and Prometheus' own checkers."""

import re
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from pool_exporter.metrics.metric import Kind
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, EXPORTER_METRICS, POOL_METRICS
from pool_exporter.otel import otlp_push
from pool_exporter.probe import probes
from pool_exporter.sidecar import connection_limits
from tests.dashboards.boards import ROOT
from tests.fixtures.programs import require

UNIT = ROOT / "deploy" / "systemd" / "pool-exporter.service"
SCRAPES = sorted((ROOT / "deploy" / "scrape").glob("prometheus-*.yml"))
EXPOSURE_MAX = 2.0


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """No key is unknown and no value wrong."""
    unit = tmp_path / UNIT.name
    # What it starts is not installed on this machine.
    unit.write_text(UNIT.read_text().replace("/opt/pool_exporter/bin/pool-exporter", "/bin/true"))
    command: list[str | Path] = [require("systemd-analyze"), "verify", "--recursive-errors=no", unit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert [] == [line for line in (done.stdout + done.stderr).splitlines() if UNIT.name in line]


def test_unit_is_hardened() -> None:
    """Systemd's own rating, from 0 (safe) to 10, is near 0."""
    command: list[str | Path] = [require("systemd-analyze"), "security", "--offline=true", "--no-pager", UNIT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)

    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE_MAX


def test_unit_runs_the_sidecar() -> None:
    """It reads the directory of the services, and may read the boot id, with which files are compared."""
    text = UNIT.read_text()

    assert "serve --dir /run/pool_exporter" in text
    assert "\nReadWritePaths=-/run/pool_exporter\n" in text
    assert "\nProcSubset=" not in text


def test_directory_does_not_depend_on_the_sidecar(tmp_path: Path) -> None:
    """It is made at the boot, for the group of the services; the unit of the sidecar does not make or remove it."""
    lines = (UNIT.parent / "pool_exporter.tmpfiles").read_text().splitlines()
    [line] = [each for each in lines if not each.startswith("#")]
    made = tmp_path / "pool_exporter"
    here = line.replace("/run/pool_exporter", str(made)).replace(" pool_exporter pool_exporter ", " - - ")
    (tmp_path / "here.conf").write_text(here + "\n")
    command: list[str | Path] = [require("systemd-tmpfiles"), "--create", tmp_path / "here.conf"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert "RuntimeDirectory" not in UNIT.read_text()
    assert (0, "") == (done.returncode, done.stderr)
    assert 0o2770 == stat.S_IMODE(made.stat().st_mode)


def test_application_starts_without_the_directory(tmp_path: Path) -> None:
    """What is added to a service is accepted by systemd, and needs neither the directory nor the sidecar's unit."""
    added = (UNIT.parent / "application.conf").read_text()
    unit = tmp_path / "shop.service"
    unit.write_text(f"[Unit]\nDescription=Shop\n{added}ExecStart=/bin/true\n")
    command: list[str | Path] = [require("systemd-analyze"), "verify", "--recursive-errors=no", unit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert [] == [line for line in (done.stdout + done.stderr).splitlines() if unit.name in line]
    assert "\nReadWritePaths=-/run/pool_exporter\n" in added
    assert not re.search(r"^(Requires|BindsTo|Requisite|Wants|After)=", added, re.MULTILINE)


def test_stop_time_is_enough() -> None:
    """No manifest kills a sidecar while it ends: responses, the last push and the probes have their time limits."""
    needed = connection_limits.CLOSE_SECONDS + otlp_push.END_SECONDS + probes.CLOSE_SECONDS
    stated = [int(each) for each in re.findall(r"TimeoutStopSec=(\d+)s", UNIT.read_text())]
    for name in ("compose.yaml", "sidecar.yaml"):
        text = (ROOT / "deploy" / "compose" / name).read_text()
        stated += [int(each) for each in re.findall(r"stop_grace_period: (\d+)s", text)]

    assert 3 == len(stated)
    assert all(seconds >= needed + 1 for seconds in stated)


@pytest.mark.parametrize("path", SCRAPES, ids=lambda path: path.stem)
def test_promtool_accepts_the_scrapes(promtool: Path, tmp_path: Path, path: Path) -> None:
    """Each example is valid; Debian's Prometheus does not support Kubernetes, so that part is replaced by a target."""
    content = yaml.safe_load(path.read_text())
    for job in content["scrape_configs"]:
        if job.pop("kubernetes_sd_configs", None):
            job["static_configs"] = [{"targets": ["127.0.0.1:10042"]}]
    config = tmp_path / "prometheus.yml"
    config.write_text(yaml.dump(content))
    done = subprocess.run(
        [promtool, "check", "config", "--syntax-only", config], capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("path", SCRAPES, ids=lambda path: path.stem)
def test_what_is_dropped_or_kept_exists(path: Path) -> None:
    """Every name of a metric in an example is the catalogue's."""
    names = {metric.family for metric in (*POOL_METRICS, *EXPORTER_METRICS)}
    text = path.read_text()

    for name in re.findall(r"db_client_connection_\w+|sqlalchemy_pool_(?!server)\w+", text):
        base = re.sub(r"_bucket$", "", name)
        assert any(known.startswith(base) for known in names)


def test_thinned_bounds_are_the_packages() -> None:
    """The dropped bounds exist; the objective's bound, and enough for quantiles, are kept."""
    text = (ROOT / "deploy" / "scrape" / "prometheus-thinned.yml").read_text()
    (found,) = re.findall(r"bucket;\(([^)]*)\)", text)
    dropped = {float(bound.replace("\\", "")) for bound in found.split("|")}

    assert dropped <= set(BOUNDS_SECONDS)
    assert 0.1 not in dropped
    assert len(set(BOUNDS_SECONDS) - dropped) >= 6
    assert {metric.kind for metric in POOL_METRICS if metric.family.endswith("_time_seconds")} == {Kind.HISTOGRAM}


def test_collector_hands_on_what_it_takes() -> None:
    """Every pipeline's parts are declared, in both examples of a Collector."""
    for path in (
        ROOT / "deploy" / "scrape" / "otel-collector.yaml",
        ROOT / "deploy" / "compose" / "collector" / "config.yaml",
    ):
        content = yaml.safe_load(path.read_text())
        for pipeline in content["service"]["pipelines"].values():
            for kind in ("receivers", "processors", "exporters"):
                assert set(pipeline[kind]) == set(content[kind])
