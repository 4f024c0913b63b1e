"""`python -m tests.pictures record DIRECTORY [SECONDS]`, `… draw DIRECTORY [PACKAGES] [IMAGES]`, `… pages [IMAGES]`."""

import sys
from pathlib import Path

from tests.pictures.record import ROOT, record

SECONDS = 420.0


def main(word: str, directory: str = str(ROOT / "docs" / "images"), *rest: str) -> None:
    """Do what the command line asks for."""
    if word == "pages":
        from tests.pictures.pages import take_pages

        take_pages(Path(directory))
        return
    if word == "record":
        record(Path(directory), float(rest[0]) if rest else SECONDS)
        return
    from tests.pictures.draw import draw

    packages, images = [*map(Path, rest), *(Path(directory) / "page", ROOT / "docs" / "images")[len(rest) :]]
    draw(Path(directory), packages, images)


if __name__ == "__main__":
    main(*sys.argv[1:])
