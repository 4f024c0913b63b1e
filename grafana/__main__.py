"""`python -m grafana [--runbooks URL]`: write every board and every rule again; `make dashboards` does it."""

import argparse
from pathlib import Path

from grafana import rules
from grafana.boards import BOARDS

ROOT = Path(__file__).parents[1]


def files(runbooks: str = rules.RUNBOOKS) -> dict[Path, str]:
    """Return the generated texts by the path at which they are committed."""
    boards = {ROOT / "grafana" / "dashboards" / f"{name}.json": board.json() for name, board in BOARDS.items()}
    return boards | {ROOT / "deploy" / name: text for name, text in rules.files(runbooks).items()}


def main() -> None:
    """Write the files, with the address of the runbooks that the command line has."""
    parser = argparse.ArgumentParser(prog="python -m grafana", description="Write the boards and the rules.")
    parser.add_argument(
        "--runbooks",
        metavar="URL",
        default=rules.RUNBOOKS,
        help="where the runbooks are; /NAME is added, or NAME is replaced by the alert's name (default: %(default)s)",
    )
    for path, text in files(parser.parse_args().runbooks).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
