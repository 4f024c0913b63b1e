"""What `advise` knows of the server that pools share: what its arguments say, or the server itself.

Nothing here may compute a share: `advice.fleet` does.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from pool_exporter.advice.fleet import Fleet
from pool_exporter.advice.loads.named_load import Advised, NamedLoad
from pool_exporter.commands.checks.servers import Targets, read_servers, servers_by_pool
from pool_exporter.errors import Problem, SettingsError
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.pool_metrics import POOL_LABELS
from pool_exporter.probe.options import ARGUMENT

RESERVED: Final = 3
"""How many connections PostgreSQL keeps for its administrators by default."""

Grant: TypeAlias = Callable[[Sequence[Advised]], tuple[Fleet, Sequence[Advised]]]
"""Returns what a server grants, and those of the pools that it has."""


def grant_of(arguments: argparse.Namespace, targets: Targets) -> Grant | None:
    """Return what finds out what the server grants; None where neither a number nor a server is given.

    Raises:
        SettingsError: Both are given, or more than one server.
    """
    if targets and arguments.max_connections is not None:
        raise SettingsError(Problem(ARGUMENT, None, "cannot be used with --max-connections: the server has the number"))
    if len(targets) > 1:
        raise SettingsError(Problem(ARGUMENT, None, "names one server at a time: a fleet has one budget on each"))
    if targets:
        return lambda pools: _granted(arguments, targets, pools)
    if arguments.max_connections is None:
        return None
    reserved = RESERVED if arguments.reserved is None else arguments.reserved
    return lambda pools: (Fleet(arguments.max_connections, reserved, arguments.others, arguments.surge), pools)


def _granted(
    arguments: argparse.Namespace, targets: Targets, pools: Sequence[Advised]
) -> tuple[Fleet, Sequence[Advised]]:
    servers = servers_by_pool(
        {_identity(each.named) for each in pools}, read_servers(targets, arguments.database_timeout)
    )
    own = [each for each in pools if servers[_identity(each.named)]]
    ((server, *_), *_) = (servers[_identity(each.named)] for each in own)
    if server.facts.connections_max is None:
        raise SettingsError(Problem(ARGUMENT, str(server.identity), "does not say how many connections it accepts"))
    granted, most = server.facts.connections_max, server.facts.settings.get("max_connections")
    fleet = Fleet.of_server(granted, most, arguments.others, arguments.surge)
    return fleet if arguments.reserved is None else replace(fleet, reserved=arguments.reserved), own


def _identity(named: NamedLoad) -> PoolIdentity:
    return PoolIdentity(*named.key[: len(POOL_LABELS)])
