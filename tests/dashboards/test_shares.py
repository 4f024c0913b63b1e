"""The capacity board's table of shares, evaluated by promtool on made-up series of four pools of one server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grafana.boards import shares
from pool_exporter.advice.sizing import _SHRINK_RATIO, NOT_BY_SIZE, Target
from tests.dashboards.boards import panels
from tests.dashboards.expressions import filled
from tests.dashboards.test_rules import promtool_says

PLACE = 'server_address="db",server_port="5432"'
MINUTES = 15

POOLS = {
    # name: callers a second, mean use, wait, limit, used and waiting at the peak, reports that say leak.
    "short": (2.0, 1.0, "0.1", 10, 10, 3, 0),
    "large": (1.0, 6.0, "0.001", 20, 2, 0, 0),
    "right": (4.0, 0.5, "0.001", 10, 6, 0, 0),
    "leaking": (5.0, 2.0, "0.1", 10, 10, 9, 1),
}
GRANTED = 80


def series() -> Iterator[tuple[str, str]]:
    """Yield each series with its values in promtool's notation, a value a minute."""
    yield f"sqlalchemy_pool_server_connections_max{{{PLACE}}}", f"{GRANTED}x{MINUTES}"
    for name, (rate, use, wait, limit, used, waiting, leaks) in POOLS.items():
        labels = f'job="api",instance="a",db_client_connection_pool_name="{name}",{PLACE}'
        calls, none = f"0+{rate * 60:g}x{MINUTES}", f"0x{MINUTES}"
        for bound in ("0.0001", "0.001", "0.01", "0.1", "+Inf"):
            is_below = bound != "+Inf" and float(bound) < float(wait)
            yield (
                f'db_client_connection_wait_time_seconds_bucket{{le="{bound}",{labels}}}',
                none if is_below else calls,
            )
        yield f"db_client_connection_wait_time_seconds_count{{{labels}}}", calls
        yield f"db_client_connection_use_time_seconds_count{{{labels}}}", calls
        yield f"db_client_connection_use_time_seconds_sum{{{labels}}}", f"0+{rate * 60 * use:g}x{MINUTES}"
        yield f'sqlalchemy_pool_acquire_failures_total{{error_type="other",{labels}}}', none
        yield f"db_client_connection_max{{{labels}}}", f"{limit}x{MINUTES}"
        yield f"sqlalchemy_pool_used_peak{{{labels}}}", f"{used}x{MINUTES}"
        yield f"sqlalchemy_pool_pending_peak{{{labels}}}", f"{waiting}x{MINUTES}"
        yield f'sqlalchemy_pool_exhaustions_total{{verdict="leak",{labels}}}', f"0+{leaks}x{MINUTES}"
        yield f'sqlalchemy_pool_exhaustions_total{{verdict="too_small",{labels}}}', calls


def expressions() -> dict[str, str]:
    """Return the expression of each column by its letter."""
    (panel,) = [each for each in panels() if each.model["title"] == "Shares of the servers"]
    targets = {target["refId"]: target["expr"] for target in panel.model["targets"]}
    return {letter: filled(expression, __range="10m") for letter, expression in targets.items()}


EXPECTED: dict[str, dict[str, float]] = {
    "A": {"short": 2, "large": 6, "right": 2, "leaking": 10},
    "B": {"short": 10, "large": 20, "right": 10, "leaking": 10},
    "C": {"short": 8, "large": 24, "right": 8, "leaking": 40},
    "D": {"short": 10 / 8, "large": 20 / 24, "right": 10 / 8, "leaking": 10 / 40},
    "F": {"short": 1.3, "large": 0.1, "right": 0.6, "leaking": 1.9},
    "G": {"short": shares.RAISE, "large": shares.LOWER, "right": shares.KEEP, "leaking": shares.MEND},
}


def samples(values: dict[str, float]) -> list[dict[str, Any]]:
    """Return the expected samples of one column."""
    labels = '{{db_client_connection_pool_name="{}",job="api",{}}}'
    return [{"labels": labels.format(name, PLACE), "value": value} for name, value in values.items()]


@pytest.mark.parametrize("letter", EXPECTED)
def test_column(letter: str, promtool: Path, tmp_path: Path) -> None:
    """Shares are in proportion to the load, and what to do is as the pool's wait, peak and reports have it."""
    asked = {"expr": expressions()[letter], "eval_time": f"{MINUTES}m", "exp_samples": samples(EXPECTED[letter])}
    given = [{"series": name, "values": values} for name, values in series()]
    test = {"interval": "1m", "input_series": given, "promql_expr_test": [asked]}
    content = {"rule_files": [], "evaluation_interval": "1m", "tests": [test]}
    path = tmp_path / "shares.test.yaml"
    path.write_text(json.dumps(content))
    code, said = promtool_says(promtool, "test", "rules", path)

    assert 0 == code, said


def test_numbers_are_those_of_advise() -> None:
    """The board has the target, the causes and the bound for a smaller pool that `pool-exporter advise` has."""
    assert (Target().wait_seconds, NOT_BY_SIZE, _SHRINK_RATIO) == (
        shares.WAIT_SECONDS,
        shares.NOT_BY_SIZE,
        shares.SHRINK,
    )
