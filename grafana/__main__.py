"""`python -m grafana [RUNBOOKS]`: write every board and every rule again; `make dashboards` does it."""

import sys
from pathlib import Path

from grafana import rules
from grafana.boards import BOARDS

ROOT = Path(__file__).parents[1]


def files(runbooks: str = rules.RUNBOOKS) -> dict[Path, str]:
    """Return the generated texts by the path at which they are committed."""
    boards = {ROOT / "grafana" / "dashboards" / f"{name}.json": board.json() for name, board in BOARDS.items()}
    return boards | {ROOT / "deploy" / name: text for name, text in rules.files(runbooks).items()}


def main(runbooks: str = rules.RUNBOOKS) -> None:
    """Write the files."""
    for path, text in files(runbooks).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
