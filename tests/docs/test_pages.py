"""What a page names exists: links, paths, commands, options, metrics and variables."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from pool_exporter import cli
from pool_exporter.metrics.pool_metrics import EXPORTER_METRICS, INFO_LABELS, POOL_LABELS, POOL_METRICS
from pool_exporter.metrics.server_metrics import SERVER_LABELS, SERVER_METRICS
from pool_exporter.workers import file_format
from pool_exporter.workers.file_format import Writer
from tests.docs.generated import options, parsers
from tests.docs.pages import DOCS, README, ROOT, blocks, commands, pages, programs, title

EACH_PAGE = pytest.mark.parametrize("page", pages(), ids=title)
LINK = re.compile(r"(?<!\\)\]\(([^)\s]+)\)")
PATH = re.compile(r"`((?:pool_exporter|tests|grafana|deploy|docs)/[\w./-]+)`")
METRIC = re.compile(r"\b(?:db_client_connection|sqlalchemy_pool|pool_exporter)_[a-z_]*[a-z]\b(?!\.|/)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z.-]+")
FOREIGN_OPTIONS = {
    *("--build", "--file", "--preload", "--profile", "--target", "--workers", "--port"),
    *("--container", "--create", "--now", "--pid", "--second-run", "--strict"),
    *("--bind", "--config", "--lifespan", "--threads", "--worker-class"),
    *("--callable", "--die-on-term", "--enable-threads", "--http-socket", "--lazy-apps", "--master", "--module"),
    *("--concurrency", "--max-tasks-per-child", "--need-app", "--pool", "--processes", "--virtualenv"),
}
"""Options of docker, gunicorn, pytest and others that the pages name."""
PROGRAMS = {
    *(
        ".",
        "cp",
        "curl",
        "docker",
        "kubectl",
        "mkdir",
        "opentelemetry-instrument",
        "pip",
        "python3",
        "ssh",
        "systemctl",
    ),
    *("celery", "export", "gunicorn", "sudo", "uvicorn", "uwsgi", "/opt/pool_exporter/bin/pip"),
}
"""Programs that a reader has; their arguments are not checked here."""


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MkDocs make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def words(command: str) -> list[str]:
    """Return a command's words, without variables before it and what follows a pipe."""
    found = shlex.split(command.split(" | ", 1)[0].removesuffix("&").split(" && ", 1)[0])
    while found and re.fullmatch(r"[A-Z_]+=.*", found[0]):
        del found[0]
    return found


def named_metrics() -> set[str]:
    """Return every name that a metric has in Prometheus, and every label."""
    metrics = [*POOL_METRICS, *EXPORTER_METRICS, *SERVER_METRICS]
    names = {metric.prometheus for metric in metrics}
    names |= {f"{name}_{part}" for name in names for part in ("bucket", "sum", "count")}
    labels = [*POOL_LABELS, *SERVER_LABELS, *(metric.label for metric in metrics if metric.label)]
    return (
        names
        | {label.prometheus for label in labels}
        | set(INFO_LABELS)
        | {"pool_exporter_name", "pool_exporter_alias"}
    )


@EACH_PAGE
def test_links_lead_to_pages_and_headings_that_exist(page: Path) -> None:
    """A link inside of the repository leads to a file, and its anchor to a heading of that file."""
    for link in LINK.findall(page.read_text()):
        target, _, anchor = link.partition("#")
        if "://" in link:
            continue
        file = (page.parent / target).resolve() if target else page

        assert file.exists(), link
        assert not anchor or anchor in anchors(file), link


def test_index_links_to_every_page() -> None:
    """A reader finds each page from the first one; runbooks and checks have lists of their own."""
    index = DOCS / "index.md"
    of_lists = {*(DOCS / "runbooks").iterdir(), *(DOCS / "checks").glob("P*.md")}
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in LINK.findall(index.read_text())}

    assert set() == set(DOCS.rglob("*.md")) - linked - {index} - of_lists


@EACH_PAGE
def test_pages_of_the_site_link_only_to_the_site(page: Path) -> None:
    """A page of docs/ names files of the repository, and links to pages of docs/: the site has no others."""
    local = [link for link in LINK.findall(page.read_text()) if "://" not in link and not link.startswith("#")]
    outside = [link for link in local if not (page.parent / link.partition("#")[0]).resolve().is_relative_to(DOCS)]

    assert page.parent == ROOT or outside == []


@EACH_PAGE
def test_paths_exist(page: Path) -> None:
    """A path of the repository in a page is there."""
    assert [] == [path for path in PATH.findall(page.read_text()) if not list(ROOT.glob(path.rstrip("/")))]


@EACH_PAGE
def test_metrics_exist(page: Path) -> None:
    """A metric or label in a page is one of the catalogue's, or the beginning of one that ends in an asterisk."""
    known = named_metrics()
    text = re.sub(r"\b(?:job|instance)_pool\w*:\w+:?\w*|/\S*|\w+\.conf|`pool_exporter_?`", "", page.read_text())
    unknown = set(METRIC.findall(re.sub(r"\b\w+_\*", "", text))) - known

    assert set() == unknown


@EACH_PAGE
def test_options_exist(page: Path) -> None:
    """An option in a page is one of a subcommand's, or a known one of another program."""
    known = {option for parser in parsers().values() for action in options(parser) for option in action.option_strings}
    text = "\n".join(line for line in page.read_text().splitlines() if not line.startswith("|--"))

    assert set() == set(OPTION.findall(re.sub(r"<!--.*?-->", "", text))) - known - FOREIGN_OPTIONS - {
        "--web",
        "--database",
    }


@EACH_PAGE
def test_variables_exist(page: Path) -> None:
    """A variable of the package in a page is on the page of environment variables."""
    listed = (DOCS / "reference" / "environment.md").read_text()
    used = set(re.findall(r"\bPOOL_EXPORTER_[A-Z_]*[A-Z]\b|\bDB_[A-Z_]+[A-Z]\b", page.read_text()))

    assert set() == {name for name in used if f"`{name}`" not in listed} - {"DB_POOL"}


@EACH_PAGE
def test_commands_exist(page: Path) -> None:
    """A command of a page is a subcommand with arguments that it takes, a target, a module, or a known program."""
    for command in commands(page):
        check(words(command))


def check(command: list[str]) -> None:
    """Check one command: its program, and of the repository's own also its arguments."""
    match command:
        case ["pool-exporter", *arguments]:
            cli._parser().parse_args(arguments)
        case ["make", *arguments]:
            targets = {argument for argument in arguments if "=" not in argument}

            assert targets <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        case ["python" | "python3", "-m", module, *_] if module != "venv":
            path = ROOT / module.replace(".", "/")

            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists()
        case [program, *arguments]:
            assert program in PROGRAMS or (ROOT / program).exists(), program
            assert [] == [path for path in arguments if path.startswith("deploy/") and not made(path)]
        case _:
            pytest.fail("a line that is no command")


def made(path: str) -> bool:
    """Tell whether a path of deploy/ is there, or is made from an example beside it."""
    return (ROOT / path).exists() or (ROOT / f"{path}.example").exists()


@EACH_PAGE
def test_extras_exist(page: Path) -> None:
    """An extra that a page installs is declared in pyproject.toml."""
    declared = re.findall(r"^([\w-]+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    used = {
        extra for found in re.findall(r"pool-exporter\[([\w,-]+)\]", page.read_text()) for extra in found.split(",")
    }

    assert used <= set(declared)


def test_readme_is_short() -> None:
    """It has at most 150 lines, one picture, a program and both commands."""
    text = README.read_text()

    assert len(text.splitlines()) <= 150
    assert 1 == text.count("![")
    assert 1 == len(list(programs(README)))
    assert {"make demo", "make test"} <= set(commands(README))


def test_every_page_is_in_the_navigation() -> None:
    """mkdocs.yml lists every page of docs/, and no other one."""
    listed = set(re.findall(r"[\w/.-]+\.md", (ROOT / "mkdocs.yml").read_text()))

    assert {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} == listed


@pytest.mark.parametrize(
    ("page", "line"),
    [("docs/explanation/architecture.md", "| `{}` | "), ("CONTRIBUTING.md", "  {}/ ")],
    ids=["table", "layout"],
)
def test_every_wing_is_described(page: str, line: str) -> None:
    """The table of the wings and the layout have each folder of the package."""
    text = (ROOT / page).read_text()
    wings = [path.parent.name for path in (ROOT / "pool_exporter").glob("*/__init__.py")]

    assert [] == [wing for wing in wings if line.format(wing) not in text]


def test_header_of_a_worker_file_is_as_documented() -> None:
    """The rows of the header's table follow each other without a gap, and each has the value that its text says."""
    sizes = {"uint16": 2, "uint32": 4, "int64": 8, "8 bytes": 8, "16 bytes": 16}
    rows = list(header_rows())
    file = file_format.new_file(Writer(b"f" * 16, b"p" * 16, b"b" * 16, b"v" * 16, 1, 2, 3, 4, 5, 6))
    numbers = {"time when": 1, "the same moment": 2, "process id": 3, "start time": 4, "inode of the PID": 5}
    numbers |= {"inode of the time": 6, "length of the header": 256, "length of the file": len(file), "state": 1}
    numbers |= {"time of the last heartbeat": 2, "major": 1, "minor": 0, "byte order": 0x01020304}
    texts = {"uuid of the file": b"f", "uuid of the process": b"p", "boot id": b"b", "version of": b"v"}
    found = {text: file[offset : offset + sizes[kind]] for offset, kind, text in rows}

    assert [offset for offset, _, _ in rows] == [sum(sizes[kind] for _, kind, _ in rows[:n]) for n in range(len(rows))]
    assert file_format.HEADER.size == rows[-1][0] + sizes[rows[-1][1]]
    assert numbers == {key: int.from_bytes(starting(key, found), "little") for key in numbers}
    assert {key: value * 16 for key, value in texts.items()} == {key: starting(key, found) for key in texts}


def starting(key: str, found: dict[str, bytes]) -> bytes:
    """Return the only value with a text that begins with *key*."""
    (value,) = (value for text, value in found.items() if text.startswith(key))
    return value


def header_rows() -> Iterator[tuple[int, str, str]]:
    """Yield offset, type and text of each row of the header's table."""
    text = (DOCS / "reference" / "worker-file.md").read_text().partition("## The header")[2].partition("## ")[0]
    for offset, kind, content in re.findall(r"^\| (\d+) \| ([\w ]+) \| (.+) \|", text, re.MULTILINE):
        yield int(offset), kind, content


def test_no_page_names_a_place_outside_of_the_repository() -> None:
    """No page names a directory of the machine on which it was written."""
    assert [] == [title(page) for page in pages() if "/work/" in page.read_text()]


def test_each_marked_block_has_a_known_mark() -> None:
    """A comment above a Python block is `continued` or `fragment`; anything else would be a misspelt mark."""
    marks = {block.mark for page in pages() for block in blocks(page, "python")}

    assert marks <= {"", "continued", "fragment"}
