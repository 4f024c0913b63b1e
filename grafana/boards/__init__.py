"""The boards, one module each, from the fleet down to one pool and to the exporter itself."""

from typing import Final

from grafana.board import Board
from grafana.boards import capacity, exporter, fleet, pool

BOARDS: Final[dict[str, Board]] = {
    "capacity": capacity.BOARD,
    "exporter": exporter.BOARD,
    "fleet": fleet.BOARD,
    "pool": pool.BOARD,
}
"""Each board, by the name of its file in grafana/dashboards."""
