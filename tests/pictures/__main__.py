"""`python -m tests.pictures record DIRECTORY [SECONDS]` or `… draw DIRECTORY [PACKAGES] [IMAGES]`."""

import sys
from pathlib import Path

from tests.pictures.record import ROOT, record

SECONDS = 420.0


def main(word: str, directory: str, *rest: str) -> None:
    """Do what the command line asks for."""
    if word == "record":
        record(Path(directory), float(rest[0]) if rest else SECONDS)
        return
    from tests.pictures.draw import draw

    packages, images = [*map(Path, rest), *(Path(directory) / "page", ROOT / "docs" / "images")[len(rest) :]]
    draw(Path(directory), packages, images)


if __name__ == "__main__":
    main(*sys.argv[1:])
