"""The runbooks of the alerts: `/-/runbooks/NAME` as a page for browsers and as the Markdown text for all others.

The wheel has the files in `pool_exporter/runbooks`; in a clone they are in `docs/runbooks`. No value of a metric may be
here. Every text is escaped before it is HTML.
"""

import re
from collections.abc import Iterable, Iterator
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Final

PREFIX: Final = "/-/runbooks/"
"""The path of all runbooks; that of one is followed by the name of its alert, with or without `.md`."""

SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy to send with a page: a browser runs no script, even if an escape were missing."""

_PACKAGE: Final = Path(__file__).parents[1]
_DIRECTORIES: Final = (_PACKAGE / "runbooks", _PACKAGE.parent / "docs" / "runbooks")

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2.5rem auto; padding: 0 1rem; }}
pre {{ overflow-x: auto; padding: .5rem; border: 1px solid #8884; }}
code {{ overflow-wrap: anywhere; }}</style>
</head>
<body>
{body}
</body>
</html>
"""


def names() -> list[str]:
    """Return the names of all runbooks, which are those of their alerts."""
    return sorted(path.stem for path in _directory().glob("*.md"))


def text(path: str) -> str | None:
    """Return the runbook at a path of a URL, as Markdown; for PREFIX itself the list of all.

    Args:
        path: The path below the place where the pages are mounted.

    Returns:
        The text, or None if the path is not that of a runbook.
    """
    if not path.startswith(PREFIX):
        return None
    name = path.removeprefix(PREFIX)
    if not name:
        return "# Runbooks\n\n" + "".join(f"- [{each}]({each})\n" for each in names())
    name = name.removesuffix(".md")
    return (_directory() / f"{name}.md").read_text("utf-8") if name in names() else None


def page(markdown: str) -> str:
    """Return the HTML page of a runbook: its headings, lists, code and links to other runbooks."""
    title = markdown.partition("\n")[0].removeprefix("# ")
    return _PAGE.format(title=escape(title), body="\n".join(_blocks(markdown.splitlines())))


def _directory() -> Path:
    return next((directory for directory in _DIRECTORIES if directory.is_dir()), _DIRECTORIES[-1])


def _blocks(lines: Iterable[str]) -> Iterator[str]:
    """Yield each block of lines between blank ones; the blank lines within code belong to it."""
    fence = False

    def is_apart(line: str) -> bool:
        nonlocal fence
        is_mark = line.strip().startswith("```")
        fence ^= is_mark
        return not line.strip() and not fence

    for is_blank, block in groupby(lines, is_apart):
        if not is_blank:
            yield _block(list(block))


def _block(lines: list[str]) -> str:
    first = lines[0].strip()
    if first.startswith("```"):
        return f"<pre>{escape(chr(10).join(line.strip() for line in lines[1:-1]))}</pre>"
    if heading := re.match(r"(#+) (.+)", first):
        level = len(heading[1])
        return f"<h{level}>{_inline(heading[2])}</h{level}>"
    if item := re.match(r"(-|(\d+)\.) ", first):
        kind = f'ol start="{item[2]}"' if item[2] else "ul"
        return f"<{kind}>{''.join(f'<li>{_inline(each)}</li>' for each in _items(lines))}</{kind[:2]}>"
    return f"<p>{_inline(' '.join(line.strip() for line in lines))}</p>"


def _items(lines: list[str]) -> list[str]:
    """Return the items of a list, each as one line."""
    found: list[str] = []
    for line in lines:
        mark = re.match(r"(?:-|\d+\.) ", line)
        if mark:
            found.append(line[mark.end() :])
        else:
            found[-1] += f" {line.strip()}"
    return found


def _inline(markdown: str) -> str:
    """Return the HTML of a line: code, emphasis, and links to other runbooks; other links become text."""
    pieces = re.split(r"(`[^`]+`)", escape(markdown))
    return "".join(f"<code>{each[1:-1]}</code>" if each.startswith("`") else _linked(each) for each in pieces)


def _linked(text: str) -> str:
    text = re.sub(r"\[([^]]+)\]\((\w+)(?:\.md)?\)", r'<a href="\2">\1</a>', text)
    text = re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)
    return re.sub(r"(?<!\w)\*([^*]+)\*(?!\w)", r"<em>\1</em>", text)
