"""The compose stack: complete, hardened, and consistent with the boards, the rules and the command line."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.rules import ALERTS
from pool_exporter import cli
from tests.dashboards.boards import ROOT
from tests.deploy.tools import tool
from tests.fixtures.programs import require

COMPOSE = ROOT / "deploy" / "compose"
STACK: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
BUILT = ("demo", "sidecar")


def test_compose_accepts_it() -> None:
    """Docker's own reader accepts it, with the variables of the example and every profile."""
    command: list[str | Path] = [
        tool("docker-compose"),
        "--env-file",
        ".env.example",
        "--profile",
        "otel",
        "config",
        "--quiet",
    ]
    done = subprocess.run(command, cwd=COMPOSE, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stdout + done.stderr)


FOREIGN = """
services:
  db: {image: postgres, user: "999"}
  web:
    image: shop
    user: "1000"
    depends_on: [db]
    environment: {DATABASE_URL: "postgresql://db/shop"%s}
    volumes: ["data:/data"%s]
volumes: {data: {}}
"""


def configured(directory: Path, content: str) -> dict[str, Any]:
    """Return a Compose file as Docker's own reader understands it."""
    (directory / "compose.yaml").write_text(content)
    command: list[str | Path] = [tool("docker-compose"), "config", "--format", "json"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
    return dict(json.loads(done.stdout))


def test_sidecar_for_a_file_of_others(tmp_path: Path) -> None:
    """With the line and the values of its heading, other services are what they were, and no service waits for it."""
    (tmp_path / "sidecar.yaml").write_text((COMPOSE / "sidecar.yaml").read_text())
    before = configured(tmp_path, FOREIGN % ("", ""))
    variables = ', POOL_EXPORTER_DIR: /run/pool_exporter, POOL_EXPORTER_FILE_MODE: "0644"'
    mount = ', "pool-exporter:/run/pool_exporter"'
    after = configured(tmp_path, "include: [sidecar.yaml]\n" + FOREIGN % (variables, mount))
    sidecar, web = after["services"].pop("pool-exporter"), after["services"]["web"]
    shared = [each["source"] for each in web["volumes"] if each["target"] == "/run/pool_exporter"]

    assert all(line.strip() in (COMPOSE / "sidecar.yaml").read_text() for line in variables.split(", ")[1:])
    assert ["pool-exporter"] == shared == [each["source"] for each in sidecar["volumes"]]
    assert sidecar["environment"].items() <= web["environment"].items()
    web["environment"] = {key: web["environment"][key] for key in before["services"]["web"]["environment"]}
    web["volumes"] = web["volumes"][:1]

    assert before["services"] == after["services"]
    assert {"ALL"} == set(sidecar["cap_drop"])
    assert sidecar["read_only"]
    assert "mode=0777" in after["volumes"]["pool-exporter"]["driver_opts"]["o"]


def test_passwords_have_no_default() -> None:
    """It does not start with a password that is in the repository."""
    text = (COMPOSE / "compose.yaml").read_text()
    names = {line.partition("=")[0] for line in (COMPOSE / ".env.example").read_text().splitlines()}

    assert {"POSTGRES_PASSWORD", "GRAFANA_PASSWORD"} == names
    assert all(f"${{{name}:?" in text and f"${{{name}:-" not in text for name in names)


@pytest.mark.parametrize("name", sorted(STACK["services"]))
def test_service_is_only_seen_from_here(name: str) -> None:
    """Ports are published on the loopback address only."""
    assert all(port.startswith("127.0.0.1:") for port in STACK["services"][name].get("ports", ()))


@pytest.mark.parametrize("name", sorted(set(STACK["services"]) - {"postgres"}))
def test_service_is_hardened(name: str) -> None:
    """It has no capabilities, gains none, and cannot write to its image."""
    service = STACK["services"][name]

    assert service["read_only"] is True
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]


@pytest.mark.parametrize("name", sorted(STACK["services"]))
def test_mounted_files_exist(name: str) -> None:
    """Files that are mounted from the repository exist."""
    sources = [volume.partition(":")[0] for volume in STACK["services"][name].get("volumes", ())]

    assert [] == [source for source in sources if source.startswith(".") and not (COMPOSE / source).exists()]


@pytest.mark.parametrize("name", BUILT)
def test_commands_exist(name: str) -> None:
    """The containers are started with arguments that the command line accepts."""
    stated = STACK["services"][name].get("command")
    (given,) = re.findall(
        rf"AS {name}\n.*?^CMD (\[.*?\])$", (ROOT / "Dockerfile").read_text(), re.DOTALL | re.MULTILINE
    )
    words = stated or json.loads(given)
    asked = cli._parser().parse_args(words)

    assert words[0] == asked.command.name


def test_both_see_one_directory() -> None:
    """The service writes to the directory that the sidecar reads."""
    mounts = {name: STACK["services"][name]["volumes"] for name in BUILT}

    assert {"demo": ["pools:/run/pool_exporter"], "sidecar": ["pools:/run/pool_exporter"]} == mounts
    assert "/run/pool_exporter" == STACK["services"]["demo"]["environment"]["POOL_EXPORTER_DIR"]
    assert "POOL_EXPORTER_DIR=/run/pool_exporter" in (ROOT / "Dockerfile").read_text()


def test_prometheus_configuration(promtool: Path) -> None:
    """Promtool accepts it; the rules that it loads are mounted."""
    path = COMPOSE / "prometheus" / "prometheus.yml"
    done = subprocess.run([promtool, "check", "config", "--syntax-only", path], capture_output=True, check=False)

    assert 0 == done.returncode
    assert ["/etc/prometheus/rules/pool.*.yaml"] == yaml.safe_load(path.read_text())["rule_files"]
    assert "../prometheus:/etc/prometheus/rules:ro" in STACK["services"]["prometheus"]["volumes"]


def test_alertmanager_configuration() -> None:
    """Amtool accepts it, and every alert that inhibits or is inhibited exists."""
    path = COMPOSE / "alertmanager" / "alertmanager.yml"
    done = subprocess.run([require("amtool"), "check-config", path], capture_output=True, text=True, check=False)

    assert (0, done.stdout) == (done.returncode, done.stdout + done.stderr)
    for rule in yaml.safe_load(path.read_text())["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            label, _, value = matcher.partition("=")
            assert label != "alertname" or alerts_matching(value)


def alerts_matching(value: str) -> bool:
    """Return whether each name in the value of a matcher is an alert."""
    text = value.strip('~"')
    head, _, rest = text.partition("(")
    names = [head + tail for tail in rest.rstrip(")").split("|")] if rest else [text]
    return set(names) <= {alert.name for alert in ALERTS}


def test_grafana_is_provisioned() -> None:
    """The data source knows the scrape's interval, which makes `$__rate_interval` right; the boards are found."""
    provisioning = COMPOSE / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "pools.yaml").read_text())["providers"]
    scraped = yaml.safe_load((COMPOSE / "prometheus" / "prometheus.yml").read_text())["global"]["scrape_interval"]

    assert scraped == source["jsonData"]["timeInterval"]
    assert f"../../grafana/dashboards:{provider['options']['path']}:ro" in STACK["services"]["grafana"]["volumes"]
    home = STACK["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / "grafana" / "dashboards" / home.rpartition("/")[2]).exists()
