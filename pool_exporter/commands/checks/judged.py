"""What the rules say of the pools of a shared directory.

Nothing here may read a file, query a server or print.
"""

from collections.abc import Container, Sequence

from pool_exporter.advice.checks.facts import ServerFacts
from pool_exporter.advice.checks.rules import RULES, findings, undecided
from pool_exporter.advice.loads.named_load import names_of
from pool_exporter.commands.checks.answer import Answer
from pool_exporter.commands.checks.worker_files import CheckedPool


def judged(
    pools: Sequence[CheckedPool], servers: Sequence[ServerFacts | None], silenced: Container[str]
) -> list[Answer]:
    """Return an answer for each pool.

    Args:
        pools: The pools.
        servers: What the server of each says; None where none was asked.
        silenced: The ids of rules to leave out.
    """
    keys = [(*pool.identity.values(), *map(str, pool.settings.values())) for pool in pools]
    names = names_of(keys)
    return [_answer(names[key], pool, server, silenced) for key, pool, server in zip(keys, pools, servers, strict=True)]


def _answer(name: str, pool: CheckedPool, server: ServerFacts | None, silenced: Container[str]) -> Answer:
    facts = pool.behind(server)
    if not pool.has_settings:
        every = tuple(rule for rule in RULES if rule.id not in silenced)
        return Answer(name, (), every, _about(pool), _details(pool))
    return Answer(name, findings(facts, silenced), undecided(facts, silenced), _about(pool), _details(pool))


def _about(pool: CheckedPool) -> str:
    """Return what the files say of the pool, in a line."""
    workers = f"{pool.workers} worker{'s' * (pool.workers > 1)} of pool_exporter {', '.join(pool.versions)}"
    if not pool.has_settings:
        return f"{workers}; its settings are not in the file"
    known = [f"{name} {value}" for name, value in pool.settings.items() if name != "pool_class"]
    return f"{pool.settings['pool_class']}, {', '.join(known)}; {workers}"


def _details(pool: CheckedPool) -> dict[str, object]:
    return {"workers": pool.workers, "versions": list(pool.versions), "settings": dict(pool.settings)}
