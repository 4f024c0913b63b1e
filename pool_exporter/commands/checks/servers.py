"""What the database servers of `--database-url` say of themselves, for `check` and for the fleet of `advise`.

Each server is connected to once, only where one is named. No message has a password.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from pool_exporter.advice.checks.facts import ServerFacts
from pool_exporter.errors import Problem, SettingsError
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.server_snapshot import ServerIdentity
from pool_exporter.probe.options import ARGUMENT, SERVER_SECONDS

if TYPE_CHECKING:
    from pool_exporter.probe.target import ProbeTarget

Targets: TypeAlias = "Sequence[ProbeTarget]"


class ReadServer(NamedTuple):
    """One server, and what it says."""

    identity: ServerIdentity
    facts: ServerFacts


def read_servers(targets: Targets, seconds: float = SERVER_SECONDS) -> tuple[ReadServer, ...]:
    """Return what each server says.

    Args:
        targets: The servers.
        seconds: The time limit for connecting to a server and for each statement.

    Raises:
        SettingsError: A server cannot be read.
    """
    return tuple(ReadServer(target.identity, _read(target, seconds)) for target in targets)


def _read(target: "ProbeTarget", seconds: float) -> ServerFacts:
    from pool_exporter.probe.server_settings import read_settings

    try:
        read = read_settings(target, seconds)
    except Exception as error:  # noqa: BLE001  # a driver may raise anything
        fault = f"{type(error).__name__}: {target.without_secrets(str(error))}"
        raise SettingsError(Problem(ARGUMENT, str(target.url), fault)) from None
    return ServerFacts(read.connections_max, read.settings, read.is_bouncer, read.pool_mode)


def merged(servers: Iterable[ReadServer]) -> ServerFacts:
    """Return what counts for a pool behind all of these: the smallest limit, and PgBouncer's mode before its server."""
    return ServerFacts.merged(each.facts for each in servers)


def servers_by_pool(
    pools: Collection[PoolIdentity], servers: Sequence[ReadServer]
) -> dict[PoolIdentity, tuple[ReadServer, ...]]:
    """Return the servers that each pool leads to.

    A server to which no pool leads is taken to be behind the PgBouncer to which one does.

    Raises:
        SettingsError: No pool leads to a server, nor to a PgBouncer.
    """
    from pool_exporter.probe.backend_matching import is_of_server

    own = {pool: tuple(each for each in servers if is_of_server(pool, each.identity)) for pool in pools}
    behind = tuple(each for each in servers if not any(each in found for found in own.values()))
    if behind and not any(_has_bouncer(found) for found in own.values()):
        raise SettingsError(*(_without_pool(each.identity, pools) for each in behind))
    return {pool: (*found, *behind) if _has_bouncer(found) else found for pool, found in own.items()}


def _has_bouncer(servers: Iterable[ReadServer]) -> bool:
    return any(each.facts.is_bouncer for each in servers)


def _without_pool(server: ServerIdentity, pools: Iterable[PoolIdentity]) -> Problem:
    places = ", ".join(sorted({f"{pool.address}:{pool.port}" for pool in pools if pool.address})) or "no server"
    advice = "if it is the same, add ?pool_exporter_alias=HOST:PORT to the URL"
    return Problem(ARGUMENT, str(server), f"no pool connects to it; the pools connect to {places}; {advice}")
