"""docs/reference/glossary.md: every term is defined, and the words that it replaces are not used.

The list is short on purpose: each word of it was a metaphor or a pronoun for a thing of the package. Words that plain
English needs ("who" of a person, "row" of a database, a "gate" of a deployment) are left to the reader's judgement.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.docs.pages import DOCS, ROOT

GLOSSARY: Final = (DOCS / "reference" / "glossary.md").read_text()
TERMS, _, REPLACED = GLOSSARY.partition("## Words that are not used")
PARTS: Final = (
    *sorted(path.name for path in (ROOT / "pool_exporter").iterdir() if path.suffix == ".py" or path.is_dir()),
    "../grafana",
)
TESTS: Final = tuple(sorted(path.name for path in (ROOT / "tests").iterdir() if path.suffix == ".py" or path.is_dir()))
UNIX_USER: Final = re.compile(r'"nobody"|\buser (= )?nobody\b')
"""The user `nobody` of Unix systems, as whom servers run in tests."""


def table(text: str) -> list[list[str]]:
    """Return the cells of a table's rows, without its heading."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def replaced(where: str) -> list[str]:
    """Return the words that the glossary replaces *where* its third column says."""
    return [word for row in table(REPLACED) if row[2] == where for word in row[0].split(", ")]


EVERYWHERE: Final = re.compile(rf"\b({'|'.join(replaced('anywhere'))})s?\b", re.IGNORECASE)
"""The words that may not occur in any text, in singular and plural."""


def sources(part: str, folder: str = "pool_exporter") -> dict[Path, str]:
    """Return the text of the Python files of a wing, or of one module; this test's own has the words."""
    path = (ROOT / folder / part).resolve()
    files = [path] if path.suffix == ".py" else sorted(path.rglob("*.py"))
    return {file: file.read_text() for file in files if file != Path(__file__)}


def names(source: str) -> Iterator[str]:
    """Yield every name that a module binds: functions, classes, arguments, variables and attributes."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case _:
                pass


def parts_of(name: str) -> set[str]:
    """Return the words of a name in snake case or camel case, in lower case and without a plural's s."""
    return {word.lower().removesuffix("s") for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}


def test_parts_of_a_name() -> None:
    """A name is split at underscores and capitals."""
    assert {"told", "return", "door"} == parts_of("_told_returnDoors")


def test_every_term_has_a_definition() -> None:
    """A definition is a sentence; no term is there twice; the terms are sorted."""
    rows = table(TERMS)
    terms = [row[0] for row in rows]

    assert len(terms) > 30
    assert sorted(set(terms)) == terms
    assert [] == [row[0] for row in rows if not re.search(r"\w.*\.$", row[1])]


def test_every_replaced_word_has_a_replacement() -> None:
    """Each row of the second table has the word to use, and where the other one may not be."""
    where = {"anywhere", "names", "names of `state` and `hooks`"}

    assert [] == [row for row in table(REPLACED) if not row[1] or row[2] not in where]


@pytest.mark.parametrize("part", PARTS)
def test_replaced_words_do_not_occur(part: str) -> None:
    """No such word is in a name, a comment or a text."""
    assert [] == [(path.name, match[0]) for path, text in sources(part).items() for match in EVERYWHERE.finditer(text)]


@pytest.mark.parametrize("part", TESTS)
def test_tests_have_no_replaced_words(part: str) -> None:
    """The tests use the words of the glossary too, in their texts and in every name that they bind."""
    wrong = {*replaced("anywhere"), "watched", "watching"}
    texts = {path.name: UNIX_USER.sub("", text) for path, text in sources(part, "tests").items()}

    assert [] == [(name, found[0]) for name, text in texts.items() for found in EVERYWHERE.finditer(text)]
    assert set() == {name for text in texts.values() for name in names(text) if parts_of(name) & wrong}


@pytest.mark.parametrize(
    "path", [path for path in sorted(DOCS.rglob("*.md")) if path.name != "glossary.md"], ids=lambda path: path.stem
)
def test_pages_have_no_replaced_words(path: Path) -> None:
    """The pages use the words of the glossary too."""
    assert [] == EVERYWHERE.findall(path.read_text())


@pytest.mark.parametrize("part", PARTS)
def test_names_have_no_replaced_words(part: str) -> None:
    """No name that the package binds has such a word as a part."""
    wrong = {*replaced("anywhere"), *replaced("names")}
    if part in ("state", "hooks"):
        wrong |= set(replaced("names of `state` and `hooks`"))
    found = {name for text in sources(part).values() for name in names(text) if parts_of(name) & wrong}

    assert set() == found
