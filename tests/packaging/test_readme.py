"""The README of a package index: its links lead to the project's URLs, or are text."""

import re

import pytest

pytest.importorskip("hatchling")

from hatch_readme import PublishedReadme, published
from tests.docs.pages import README, ROOT

URLS = {"Documentation": "https://docs/pools/", "Changelog": "https://host/changes"}


def links(text: str) -> list[str]:
    """Return where the links and pictures of a text lead."""
    return re.findall(r"\]\(([^)]+)\)", text)


def test_without_urls_no_link_is_left() -> None:
    """A project without URLs has a README without links to files and without pictures; its code is as it was."""
    text = published(README.read_text(), {})

    assert [] == links(text)
    assert "![" not in text
    assert README.read_text().count("```") == text.count("```")
    assert "explains them" in text


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("[a](docs/how-to/units.md)", "[a](https://docs/pools/how-to/units.html)"),
        ("[a](docs/how-to/units.md#b)", "[a](https://docs/pools/how-to/units.html#b)"),
        ("![a](docs/images/page.png)", "![a](https://docs/pools/images/page.png)"),
        ("[a](CHANGELOG.md)", "[a](https://host/changes)"),
        ("[a](SECURITY.md)", "a"),
        ("[a](https://other/page.md)", "[a](https://other/page.md)"),
        ("[a](#install)", "[a](#install)"),
    ],
    ids=["page", "heading", "picture", "file", "no URL", "other site", "same page"],
)
def test_links_lead_to_the_urls(link: str, expected: str) -> None:
    """A file of the documentation is on its site; another file has the URL of its name, or is text."""
    assert expected == published(link, URLS)


def test_every_link_of_the_readme_is_replaced() -> None:
    """With a site of the documentation, no link of README.md leads to a file."""
    text = published(README.read_text(), URLS)

    assert len(links(text)) > 30
    assert [] == [link for link in links(text) if not link.startswith("https://")]


def test_metadata_has_the_readme() -> None:
    """Hatchling gets the text of README.md as Markdown."""
    metadata: dict[str, object] = {"urls": URLS}
    PublishedReadme(str(ROOT), {}).update(metadata)

    assert {"content-type": "text/markdown", "text": published(README.read_text(), URLS)} == metadata["readme"]
