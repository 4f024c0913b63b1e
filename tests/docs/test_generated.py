"""The generated parts of the pages are committed as they are generated; `python -m tests.docs` repairs them."""

import re

import pytest

from tests.docs.generated import PARTS, between, options, parsers
from tests.docs.pages import ROOT


@pytest.mark.parametrize("name", PARTS)
def test_part_is_up_to_date(name: str) -> None:
    """What is committed is what is generated."""
    page, part = PARTS[name]
    found = between(name).search(page.read_text())

    assert found is not None
    assert part().strip() == found[2].strip()


@pytest.mark.parametrize("name", parsers())
def test_every_argument_has_a_help_text(name: str) -> None:
    """No row of the command line's page is without a meaning."""
    assert [] == [action.dest for action in options(parsers()[name]) if not action.help]


def test_environment_page_lists_what_the_package_reads() -> None:
    """Every variable that is named in a string of the package is on the page, and no other one."""
    names = r"(?:POOL_EXPORTER|OTEL|DB|LISTEN|PROMETHEUS)_[A-Z_]+|DATABASE_URL|PG[A-Z_]+|_ARGCOMPLETE"
    sources = [path.read_text() for path in (ROOT / "pool_exporter").rglob("*.py")]
    read = {name for source in sources for name in re.findall(rf"['\"]({names})['\"]", source)}
    page = (ROOT / "docs" / "reference" / "environment.md").read_text()
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    listed = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}

    assert "POOL_EXPORTER_DIR" in read
    assert set() == read - listed
    assert set() == listed - read - {"OTEL_RESOURCE_ATTRIBUTES"}


def test_environment_page_lists_what_is_looked_up_by_a_name() -> None:
    """Every upper-case text, or constant for one, that the package looks up in an environment is on the page.

    The `environ` of modules that speak WSGI is that of a request.
    """
    page = (ROOT / "docs" / "reference" / "environment.md").read_text()
    texts = [path.read_text() for path in (ROOT / "pool_exporter").rglob("*.py")]
    sources = [text for text in texts if "wsgi" not in text.lower()]
    looked_up = r"""environ(?:\.get\(|\[)(?:"([A-Z_]+)"|([A-Z_]+)\b)|"([A-Z_]+)" in environ"""
    found = {"".join(each) for source in sources for each in re.findall(looked_up, source)}
    constants = {
        name: value
        for source in sources
        for name, value in re.findall(r'^(\w+): Final = "([A-Z_]+)"$', source, re.MULTILINE)
    }
    names = {constants.get(each, each) for each in found}

    assert {"OTEL_METRICS_EXEMPLAR_FILTER", "PROMETHEUS_MULTIPROC_DIR", "_ARGCOMPLETE"} <= names
    assert set() == {name for name in names if f"`{name}`" not in page}


def test_api_page_lists_the_public_names() -> None:
    """The page of the Python API has every name of `pool_exporter.__all__`."""
    import pool_exporter

    page = (ROOT / "docs" / "reference" / "python-api.md").read_text()

    assert set(pool_exporter.__all__) == set(re.findall(r"^::: pool_exporter\.(\w+)$", page, re.MULTILINE))
