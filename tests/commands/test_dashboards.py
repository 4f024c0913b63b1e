"""`pool-exporter dashboards`: the boards and the rules that are generated, with the address of the runbooks."""

import re
from pathlib import Path

import pytest

from pool_exporter.cli import main
from pool_exporter.commands import dashboards

ROOT = Path(__file__).parents[2]
BOARDS = {f"grafana/{path.name}": path for path in (ROOT / "grafana" / "dashboards").glob("*.json")}
RULES = {f"prometheus/{path.name}": path for path in (ROOT / "deploy" / "prometheus").glob("pool.*.yaml")}
ALERTS = (ROOT / "deploy" / "prometheus" / "pool.alerts.yaml").read_text()


def test_files_are_as_they_are_generated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without an address of runbooks, each board and each rules file is written as it is, and its path is printed."""
    code = main(["dashboards", "--output", str(tmp_path / "new")])
    written = {str(path.relative_to(tmp_path / "new")): path for path in (tmp_path / "new").rglob("*.*")}

    assert (0, {*BOARDS, *RULES}) == (code, set(written))
    assert all(path.read_bytes() == written[name].read_bytes() for name, path in {**BOARDS, **RULES}.items())
    assert sorted(map(str, written.values())) == sorted(capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(
    ("runbooks", "expected"),
    [
        ("https://wiki/pools", "https://wiki/pools/{}"),
        ("https://wiki/pools/", "https://wiki/pools/{}"),
        ("https://wiki/NAME.html", "https://wiki/{}.html"),
        ("/-/runbooks", "/-/runbooks/{}"),
    ],
    ids=["base", "slash", "pattern", "path"],
)
def test_each_alert_has_its_runbook_there(runbooks: str, expected: str, tmp_path: Path) -> None:
    """With an address, the runbook of each alert is at it, and nothing else of the rules is changed."""
    main(["dashboards", "--output", str(tmp_path), "--runbooks", runbooks])
    text = (tmp_path / "prometheus" / "pool.alerts.yaml").read_text()
    urls, alerts = (re.findall(pattern, text) for pattern in (r"runbook_url: (\S+)", r"- alert: (\w+)"))

    assert [expected.format(alert) for alert in alerts] == urls
    assert without_runbooks(ALERTS) == without_runbooks(text)


@pytest.mark.parametrize("runbooks", ["wiki", "", "https://", "//wiki", "ftp://wiki", "https://wiki/a page"])
def test_what_is_no_address_of_runbooks(runbooks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is an error that says what is allowed, and nothing is written."""
    code = main(["dashboards", "--output", str(tmp_path / "new"), "--runbooks", runbooks])
    [line] = capsys.readouterr().err.splitlines()

    assert (2, False) == (code, (tmp_path / "new").exists())
    assert line.startswith(f"pool-exporter dashboards: --runbooks={runbooks!r}: must be a URL such as")


def without_runbooks(text: str) -> str:
    """Return rules without the addresses of runbooks."""
    return re.sub(r"runbook_url: .*", "", text)


def test_files_of_the_installed_package_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package has copies, as the wheel has, these are written."""
    (tmp_path / "grafana").mkdir()
    (tmp_path / "grafana" / "pool.json").write_text("{}")
    monkeypatch.setattr(dashboards, "_INSTALLED", tmp_path)

    assert [(Path("grafana/pool.json"), "{}")] == list(dashboards.files())


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in place of the directory is an error with the option, its value and the system's reason."""
    (tmp_path / "file").write_text("")
    code = main(["dashboards", "--output", str(tmp_path / "file")])
    said = capsys.readouterr().err

    assert (2, True) == (code, "--output" in said and "cannot be written: " in said)


def test_wheel_and_image_take_the_files() -> None:
    """What is built has copies where this module looks for them."""
    project, image = (ROOT / "pyproject.toml").read_text(), (ROOT / "Dockerfile").read_text()
    targets = ["grafana", *RULES]

    assert all(f'= "pool_exporter/monitoring/{target}"' in project for target in targets)
    assert all(f"COPY {name} ./{name}\n" in image for name in ("grafana/dashboards", "deploy/prometheus"))


def test_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As of a variable that is not set: nothing is written into the current directory."""
    monkeypatch.chdir(tmp_path)
    code = main(["dashboards", "--output="])

    assert (2, "pool-exporter dashboards: --output='': must be the directory to write to\n") == (
        code,
        capsys.readouterr().err,
    )
    assert [] == list(tmp_path.iterdir())
