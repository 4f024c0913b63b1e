"""`python -m grafana`: write every board and every rule again; `make dashboards` does it."""

from pathlib import Path

from grafana.boards import BOARDS

ROOT = Path(__file__).parents[1]


def files() -> dict[Path, str]:
    """Return what is generated, by the path where it is committed."""
    return {ROOT / "grafana" / "dashboards" / f"{name}.json": board.json() for name, board in BOARDS.items()}


def main() -> None:
    """Write the files."""
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
