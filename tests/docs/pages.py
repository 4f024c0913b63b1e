"""The pages of the documentation and the code blocks in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
README: Final = ROOT / "README.md"
RUN_NOWHERE: Final = "fragment"
"""The mark of a block that is not run."""
CONTINUED: Final = "continued"
"""The mark of a block that is run after the blocks before it, in their namespace."""

_BLOCK: Final = re.compile(
    r'^(?:<!-- (\w+)[^\n]* -->\n)?```(\w+)(?: title="([\w./-]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """One code block: its language, its text, the mark in the comment above it, and its file's name; "" for none."""

    language: str
    text: str
    mark: str
    title: str = ""


def pages() -> list[Path]:
    """Return README.md, CONTRIBUTING.md and every page of docs/."""
    return [README, ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def title(page: Path) -> str:
    """Return a page's path in the repository, which names its tests."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return the page's code blocks in these languages."""
    return blocks_of(page.read_text(), *languages)


def blocks_of(text: str, *languages: str) -> list[Block]:
    """Return the code blocks in these languages of a page, or of a part of one."""
    found = _BLOCK.findall(text)
    return [Block(language, text, mark, title) for mark, language, title, text in found if language in languages]


def programs(page: Path) -> Iterator[str]:
    """Yield each Python program of the page; a block with the mark `continued` is part of the program before it."""
    program = ""
    for block in blocks(page, "python"):
        if block.mark == CONTINUED:
            program += block.text
            continue
        if program:
            yield program
        program = "" if block.mark == RUN_NOWHERE else block.text
    if program:
        yield program


def commands(page: Path) -> list[str]:
    """Return the command lines of the page's shell blocks, without comments and prompts."""
    lines = [line for block in blocks(page, "sh", "console") for line in block.text.splitlines()]
    bare = (re.sub(r"\s+# .*", "", line).strip().removeprefix("$ ") for line in lines)
    return [line for line in bare if line and not line.startswith("#")]
