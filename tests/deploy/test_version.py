"""The version of the package is in all the places that CONTRIBUTING.md names, and in no other one."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dashboards.boards import ROOT

tomllib = pytest.importorskip("tomllib")  # Python has it since 3.11.

FOLDERS = (".ci", "deploy", "docs", "grafana", "pool_exporter")
EXAMPLES = frozenset(
    {
        "CHANGELOG.md",  # It has all versions.
        "CONTRIBUTING.md",  # The form of a tag.
        "PKG-INFO",  # Of an sdist, made from pyproject.toml.
        "deploy/prometheus/tests/exporter.test.yaml",  # A label's value in a test of a rule.
        "docs/benchmarks.md",  # What was measured.
        "docs/reference/checks.md",  # What a command has printed.
    }
)
"""Where the version may be, and does not have to be the present one."""


def files() -> Iterator[Path]:
    """Yield the files of the root and of the folders that a release has, without the tests."""
    yield from (path for path in ROOT.iterdir() if path.is_file())
    for folder in FOLDERS:
        yield from (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def release_step() -> str:
    """Return the step of CONTRIBUTING.md that names the places."""
    (step,) = re.findall(
        r"^2\. In one commit: the version in (.+?), and in",
        (ROOT / "CONTRIBUTING.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    return str(step).partition("(")[0]


def test_version_is_where_a_release_changes_it() -> None:
    """A search for the version of pyproject.toml finds just the files that are changed for a release."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    whole = re.compile(rf"(?<![\d.]){re.escape(version)}(?![\d.])".encode())
    found = {str(path.relative_to(ROOT)) for path in files() if whole.search(path.read_bytes())}

    assert set(re.findall(r"`([^`]+)`", release_step())) == found - EXAMPLES


@pytest.mark.parametrize("name", ["Dockerfile", "deploy/kubernetes/example/kustomization.yaml"])
def test_no_place_has_another_version(name: str) -> None:
    """Each tag or argument of a file with several has the same version."""
    places = re.findall(r"(?:newTag: |ARG VERSION=)(\S+)", (ROOT / name).read_text())

    assert places
    assert {tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]} == set(places)
