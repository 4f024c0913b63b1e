"""The argument `--json`, which each command with an output has, and the JSON that it prints.

The output is one document, except that a command which runs for long prints a document a line. Nothing here may know
what a document has.
"""

import argparse
import json
import sys
from typing import Final

HELP: Final = "print JSON, for programs"


def add_json(parser: argparse.ArgumentParser, text: str = HELP) -> None:
    """Add the argument; its value is `is_json`."""
    parser.add_argument("--json", dest="is_json", action="store_true", help=text)


def json_text(document: object) -> str:
    """Return a document as JSON of several lines, with a line break at its end."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def write_json(document: object) -> None:
    """Write a document to stdout."""
    sys.stdout.write(json_text(document))
