"""The runbooks over HTTP: one for each alert, as text and as a page, and nothing else under their path."""

import re
from pathlib import Path

import pytest

from pool_exporter.web import runbooks
from pool_exporter.web.responses import Request, Response, respond, takes_snapshot
from tests.golden import SNAPSHOT

FILES = Path(__file__).parents[2] / "docs" / "runbooks"
BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


def ask(path: str, accept: str = "*/*", method: str = "GET") -> Response:
    """Return the response."""
    return respond(Request(method, path, accept=accept), lambda: SNAPSHOT)


@pytest.mark.parametrize("name", sorted(path.stem for path in FILES.glob("*.md")))
def test_each_runbook_is_there(name: str) -> None:
    """By the alert's name, and by its file's, each runbook is the text of its file."""
    expected = (FILES / f"{name}.md").read_bytes()

    assert [expected, expected] == [ask(f"/-/runbooks/{name}{end}").body for end in ("", ".md")]


@pytest.mark.parametrize("name", sorted(path.stem for path in FILES.glob("*.md")))
def test_page_has_all_words(name: str) -> None:
    """The page for browsers has the words of the text, each section, and no mark of Markdown that was overlooked."""
    text, page = ask(f"/-/runbooks/{name}").body.decode(), ask(f"/-/runbooks/{name}", BROWSER).body.decode()
    body = page.partition("<body>")[2]
    plain = re.sub(r"<[^>]+>", "", re.sub(r"<(pre|code)>.*?</\1>", "", body, flags=re.DOTALL))

    assert ["Meaning", "Impact", "Diagnosis", "Mitigation"] == re.findall(r"<h2>(.+)</h2>", page)
    assert re.findall(r"^# (.+)", text) == re.findall(r"<h1>(.+)</h1>", page)
    assert not re.search(r"`|\]\(|(^|\n)#|(^|\n)- ", plain)


def test_index_lists_all() -> None:
    """The prefix itself is a list with a link to each of them."""
    page = ask("/-/runbooks/", BROWSER).body.decode()

    assert runbooks.names() == re.findall(r'<a href="(\w+)">\1</a>', page)
    assert "SQLAlchemyPoolTimeouts" in runbooks.names()


@pytest.mark.parametrize(
    "path",
    ["/-/runbooks", "/-/runbooks/None", "/-/runbooks/../index", "/-/runbooks/.md", "/-/runbooks//etc/passwd"],
)
def test_nothing_else_is_there(path: str) -> None:
    """Another path is not found, and reads no other file."""
    assert 404 == ask(path).status


def test_links_lead_to_runbooks_only() -> None:
    """A link to another runbook is kept; of a link to the documentation, which is not served here, the text is kept."""
    page = runbooks.page("# A\n\nSee [B](B.md), [units](../how-to/units.md) and `x < y`.\n")

    assert '<p>See <a href="B">B</a>, units and <code>x &lt; y</code>.</p>' in page


def test_code_keeps_its_lines() -> None:
    """A block of code is as it is written, blank lines included."""
    page = runbooks.page("# A\n\n```sh\none\n\ntwo\n```\n\nEnd.\n")

    assert "<pre>one\n\ntwo</pre>\n<p>End.</p>" in page


def test_wheel_and_image_take_the_runbooks() -> None:
    """What is built has a copy of the folder where this module looks for it: the wheel, its source, and the image."""
    root = FILES.parents[1]
    project, image, context = ((root / name).read_text() for name in ("pyproject.toml", "Dockerfile", ".dockerignore"))

    assert '"docs/runbooks" = "pool_exporter/runbooks"' in project
    assert '"/docs",' in project
    assert "COPY docs/runbooks ./docs/runbooks\n" in image
    assert "!docs/runbooks\n" in context
    assert runbooks._DIRECTORIES == (root / "pool_exporter" / "runbooks", FILES)


def test_runbook_takes_no_snapshot() -> None:
    """It is read while a snapshot is stuck, too, and another method than GET and HEAD is refused."""
    path = "/-/runbooks/PoolExporterDown"

    assert (False, 405) == (takes_snapshot(path), ask(path, method="POST").status)
