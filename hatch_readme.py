"""Writes the README of the package's metadata, where a link to a file of the repository would lead nowhere.

A link to a page or a picture of `docs` gets its address on the site of the documentation. A link to another file gets
the URL that has the file's name, such as `Changelog`. Both are from the table `project.urls` of pyproject.toml. Without
the URL a link is its text alone, and a picture is left out. Hatchling calls this for each wheel and sdist.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

_PICTURE = re.compile(r"^!\[[^]]*\]\((?!https?:)[^)]+\)\n\n?", re.MULTILINE)
_LINK = re.compile(r"\[([^]]+)\]\((?!https?:|#)([^)]+)\)")


class PublishedReadme(MetadataHookInterface):
    """Adds the README to the metadata."""

    def update(self, metadata: dict[str, object]) -> None:
        """Put in the text of README.md, with links that work on the page of a package index."""
        urls = metadata.get("urls", {})
        text = (Path(self.root) / "README.md").read_text("utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": published(text, urls if isinstance(urls, Mapping) else {}),
        }


def published(readme: str, urls: Mapping[str, str]) -> str:
    """Return the README with no link to a file.

    Args:
        readme: Its text in the repository.
        urls: The URLs of the project by their names.
    """
    if "Documentation" not in urls:
        readme = _PICTURE.sub("", readme)
    return _LINK.sub(lambda link: _linked(link[1], _address(link[2], urls)), readme)


def _linked(text: str, address: str | None) -> str:
    return text if address is None else f"[{text}]({address})"


def _address(path: str, urls: Mapping[str, str]) -> str | None:
    """Return the URL of a file of the repository; None if the project has none for it."""
    if not path.startswith("docs/"):
        return urls.get(Path(path).stem.title())
    site = urls.get("Documentation")
    return site and f"{site.rstrip('/')}/{re.sub(r'[.]md(?=#|$)', '.html', path.removeprefix('docs/'))}"
