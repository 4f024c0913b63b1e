"""The committed files are what is generated: no board is edited by hand, and no metric renamed without its boards."""

import json
import sys
from pathlib import Path

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana import __main__ as generator
from grafana.rules.model import NAME, documented
from tests.dashboards.boards import BOARDS, ROOT


def test_regenerating_changes_nothing() -> None:
    """Every generated file is committed as it is generated; `make dashboards` repairs it."""
    files = generator.files()

    assert {str(path) for path in files} == {str(path) for path in files if path.exists()}
    assert [] == [str(path.relative_to(ROOT)) for path, text in files.items() if path.read_text("utf-8") != text]


def test_nothing_is_left_over() -> None:
    """No committed board or rule file is without its source."""
    generated = {path.name for path in generator.files()}

    assert set() == {path.name for path in (ROOT / "grafana" / "dashboards").glob("*.json")} - generated
    assert set() == {path.name for path in (ROOT / "deploy" / "prometheus").glob("pool.*.yaml")} - generated


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://books.test/pools/", "https://books.test/pools/SQLAlchemyPoolTimeouts"),
        ("https://books.test/NAME.html", "https://books.test/SQLAlchemyPoolTimeouts.html"),
    ],
    ids=["base", "pattern"],
)
def test_generator_writes_what_it_says(
    url: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command writes every file, with the address of the runbooks that it was given."""
    monkeypatch.setattr(generator, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["grafana", "--runbooks", url])

    generator.main()
    assert (tmp_path / "grafana" / "dashboards" / "fleet.json").exists()
    alerts = (tmp_path / "deploy" / "prometheus" / "pool.alerts.yaml").read_text()
    assert f"runbook_url: {expected}\n" in alerts


@pytest.mark.parametrize(
    ("pyproject", "expected"),
    [
        ('[project]\nname = "x"\n', "/-/runbooks"),
        ('[project.urls]\nSource = "https://a"\n[tool.x]\nDocumentation = "https://b"\n', "/-/runbooks"),
        (
            '[project.urls]\nSource = "https://a"\n\nDocumentation = "https://b/docs/"\n',
            f"https://b/docs/runbooks/{NAME}.html",
        ),
    ],
    ids=["no URLs", "no documentation", "documentation"],
)
def test_runbooks_are_where_the_documentation_is(pyproject: str, expected: str) -> None:
    """Without an address, the runbooks are in the documentation of pyproject.toml; until it has a URL, on exporters."""
    assert expected == documented(pyproject)


def test_no_address_is_made_up() -> None:
    """No generated file, and no runbook, has an address that exists nowhere."""
    texts = [*generator.files().values(), *(path.read_text() for path in (ROOT / "docs" / "runbooks").glob("*.md"))]

    assert not [text for text in texts if "example." in text]


@pytest.mark.parametrize("name", BOARDS)
def test_grafanas_own_model_knows_every_key(name: str) -> None:
    """Read into Grafana's types and written again, no key is lost: none is misspelt."""
    board = BOARDS[name]
    again = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))

    assert [] == sorted(keys(board) - keys(again))


def keys(value: object, path: str = "") -> set[str]:
    """Return the path of every key in a JSON value; plain maps are left out, because their keys are data."""
    if isinstance(value, dict):
        inner = set[str]()
        for key, item in value.items():
            inner |= {f"{path}.{key}"} | keys(item, f"{path}.{key}")
        return inner
    if isinstance(value, list):
        return set().union(*(keys(item, f"{path}[{number}]") for number, item in enumerate(value)))
    return set()
