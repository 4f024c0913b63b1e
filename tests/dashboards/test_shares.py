"""The capacity board's row of shares, evaluated by promtool on made-up series of seven pools on two servers.

The server "db" has room for all that its pools may open, "little" has not.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grafana.boards import shares
from pool_exporter.advice.fleet import Fleet, FleetPool, advise_fleet
from pool_exporter.advice.sizing import _SHRINK_RATIO, NOT_BY_SIZE, Target
from tests.dashboards.boards import panels
from tests.dashboards.expressions import filled
from tests.dashboards.test_rules import promtool_says

MINUTES = 15

POOLS = {
    # name: server, callers a second, mean use, wait, limit of each of 2 instances, used and waiting at the peak, leaks.
    "short": ("db", 2.0, 1.0, "0.1", 5, 5, 3, 0),
    "large": ("db", 1.0, 6.0, "0.001", 10, 1, 0, 0),
    "right": ("db", 4.0, 0.5, "0.001", 5, 3, 0, 0),
    "leaking": ("db", 5.0, 2.0, "0.1", 5, 5, 9, 1),
    "greedy": ("little", 1.0, 2.0, "0.1", 10, 10, 3, 0),
    "modest": ("little", 3.0, 2.0, "0.1", 5, 5, 3, 0),
    "calm": ("little", 2.0, 0.5, "0.001", 1, 1, 0, 0),
}
GRANTED = {"db": 110, "little": 20}
OTHERS = {"db": 10, "little": 0}


def place(server: str) -> str:
    """Return the labels of a server."""
    return f'server_address="{server}",server_port="5432"'


def series() -> Iterator[tuple[str, str]]:
    """Yield each series with its values in promtool's notation, a value a minute."""
    for server, granted in GRANTED.items():
        open_by_pools = 2 * sum(server == at for at, *_ in POOLS.values())
        yield f"sqlalchemy_pool_server_connections_max{{{place(server)}}}", f"{granted}x{MINUTES}"
        yield (
            f'sqlalchemy_pool_server_connections{{state="idle",{place(server)}}}',
            f"{open_by_pools + OTHERS[server]}x{MINUTES}",
        )
    for name in POOLS:
        for instance in ("a", "b"):
            yield from series_of(name, instance)


def series_of(name: str, instance: str) -> Iterator[tuple[str, str]]:
    """Yield the series of one instance of a pool, which has half of its load."""
    server, rate, use, wait, limit, used, waiting, leaks = POOLS[name]
    labels = f'job="api",instance="{instance}",db_client_connection_pool_name="{name}",{place(server)}'
    calls, none = f"0+{rate * 30:g}x{MINUTES}", f"0x{MINUTES}"
    for bound in ("0.0001", "0.001", "0.01", "0.1", "+Inf"):
        is_below = bound != "+Inf" and float(bound) < float(wait)
        yield f'db_client_connection_wait_time_seconds_bucket{{le="{bound}",{labels}}}', none if is_below else calls
    yield f"db_client_connection_wait_time_seconds_count{{{labels}}}", calls
    yield f"db_client_connection_use_time_seconds_count{{{labels}}}", calls
    yield f"db_client_connection_use_time_seconds_sum{{{labels}}}", f"0+{rate * 30 * use:g}x{MINUTES}"
    yield f'sqlalchemy_pool_acquire_failures_total{{error_type="other",{labels}}}', none
    yield f"db_client_connection_max{{{labels}}}", f"{limit}x{MINUTES}"
    yield f'db_client_connection_count{{state="used",{labels}}}', f"1x{MINUTES}"
    yield f"sqlalchemy_pool_used_peak{{{labels}}}", f"{used}x{MINUTES}"
    yield f"sqlalchemy_pool_pending_peak{{{labels}}}", f"{waiting}x{MINUTES}"
    yield f'sqlalchemy_pool_exhaustions_total{{verdict="leak",{labels}}}', f"0+{leaks}x{MINUTES}"
    yield f'sqlalchemy_pool_exhaustions_total{{verdict="too_small",{labels}}}', calls


def expressions(title: str) -> dict[str, str]:
    """Return the expression of each column of a panel by the column's name."""
    (panel,) = [each for each in panels() if each.model["title"] == title]
    (names,) = [each["options"]["renameByName"] for each in panel.model["transformations"] if each["id"] == "organize"]
    return {
        names[f"Value #{target['refId']}"]: filled(target["expr"], __range="10m") for target in panel.model["targets"]
    }


SERVERS: dict[str, dict[str, float]] = {
    "Granted": {"db": 110, "little": 20},
    "Others": {"db": 10, "little": 0},
    "For the pools": {"db": 90, "little": 18},
    "May open": {"db": 50, "little": 32},
    "Committed": {"db": 50 / 90, "little": 32 / 18},
    "Room for a rollout": {"db": 0.8, "little": 0},
    "What binds": {"db": shares.LOAD_BINDS, "little": shares.SERVER_BINDS},
}
SHARES: dict[str, dict[str, float]] = {
    "Load": {"short": 2, "large": 6, "right": 2, "leaking": 10, "greedy": 2, "modest": 6, "calm": 1},
    "Instances": dict.fromkeys(POOLS, 2),
    "May open": {"short": 10, "large": 20, "right": 10, "leaking": 10, "greedy": 20, "modest": 10, "calm": 2},
    "Share": {"short": 9, "large": 27, "right": 9, "leaking": 45, "greedy": 4, "modest": 12, "calm": 2},
    "Limit to fit": {"short": 4, "large": 13, "right": 4, "leaking": 22, "greedy": 2, "modest": 6, "calm": 1},
    "What to do": {
        "short": shares.RAISE,
        "large": shares.LOWER,
        "right": shares.KEEP,
        "leaking": shares.MEND,
        "greedy": shares.LOWER,
        "modest": shares.RAISE,
        "calm": shares.KEEP,
    },
}


def of_servers(values: dict[str, float]) -> list[dict[str, Any]]:
    """Return the expected samples of a column of the table of servers."""
    return [{"labels": f"{{{place(server)}}}", "value": round(1000 * value)} for server, value in values.items()]


def of_pools(values: dict[str, float]) -> list[dict[str, Any]]:
    """Return the expected samples of a column of the table of pools."""
    labels = '{{db_client_connection_pool_name="{}",job="api",{}}}'
    return [
        {"labels": labels.format(name, place(POOLS[name][0])), "value": round(1000 * value)}
        for name, value in values.items()
    ]


def failures(promtool: Path, folder: Path, expression: str, expected: list[dict[str, Any]]) -> str:
    """Return what promtool finds wrong in a thousand times the value after MINUTES; nothing if it is as expected."""
    asked = {"expr": f"round(1000 * ({expression}))", "eval_time": f"{MINUTES}m", "exp_samples": expected}
    given = [{"series": name, "values": values} for name, values in series()]
    test = {"interval": "1m", "input_series": given, "promql_expr_test": [asked]}
    path = folder / "shares.test.yaml"
    path.write_text(json.dumps({"rule_files": [], "evaluation_interval": "1m", "tests": [test]}))
    code, said = promtool_says(promtool, "test", "rules", path)
    return said if code else ""


@pytest.mark.parametrize("column", SERVERS)
def test_column_of_servers(column: str, promtool: Path, tmp_path: Path) -> None:
    """A server binds where its pools may open more than it has for them, less a tenth and what other clients have."""
    expression = expressions("Does the fleet fit")[column]

    assert "" == failures(promtool, tmp_path, expression, of_servers(SERVERS[column]))


@pytest.mark.parametrize("column", SHARES)
def test_column_of_pools(column: str, promtool: Path, tmp_path: Path) -> None:
    """Shares are in proportion to the load, and what to do is as the server, the wait, the peak and reports have it."""
    expression = expressions("Shares of the servers")[column]

    assert "" == failures(promtool, tmp_path, expression, of_pools(SHARES[column]))


def test_shares_are_those_of_advise() -> None:
    """The least limit of each pool in an instance is at most 1 from the share that `pool-exporter advise` gives it."""
    load = {name: SHARES["Load"][name] / 2 for name in POOLS}
    on_little = {name: FleetPool(5, load[name], replicas=2) for name, (at, *_) in POOLS.items() if at == "little"}
    advice = advise_fleet(Fleet(GRANTED["little"]), on_little)

    assert {name: pytest.approx(SHARES["Limit to fit"][name], abs=1) for name in on_little} == {
        name: pool.share for name, pool in advice.pools.items()
    }


def test_numbers_are_those_of_advise() -> None:
    """The board has the target, causes, margin and bound for a smaller pool that `pool-exporter advise` has."""
    assert (Target().wait_seconds, NOT_BY_SIZE, _SHRINK_RATIO, Fleet(0).margin) == (
        shares.WAIT_SECONDS,
        shares.NOT_BY_SIZE,
        shares.SHRINK,
        shares.MARGIN,
    )
