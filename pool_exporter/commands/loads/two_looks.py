"""Where `pool-exporter advise` takes the loads of pools from: two looks at a shared directory or at a page of metrics.

`busiest_hour` has the third source. Nothing here may compute a size.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

from pool_exporter.advice.load import Load
from pool_exporter.advice.observation import Observation, PoolKey, Sample, key_of, of_samples, of_snapshot
from pool_exporter.advice.present import Part, Present, present_of
from pool_exporter.commands.directory_argument import check_files, note_set_aside, read_by_user
from pool_exporter.commands.loads.argument_page import ArgumentPage
from pool_exporter.commands.terminal.http_source import HttpSource, SourceError
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.pool_metrics import POOL_LABELS
from pool_exporter.workers.directory_snapshot import DirectoryReader
from pool_exporter.workers.reports.directory_reports import DirectoryReports

Look: TypeAlias = Callable[[], Mapping[PoolKey, Observation]]
"""Returns all pools as they are now."""


class NamedLoad(NamedTuple):
    """The load of one pool, or why there is none; *key* is which pool, and *pool* its name among all of a source."""

    pool: str
    load: Load | None
    fault: str = ""
    key: PoolKey = ()


def look_at_directory(directory: Path) -> Look:
    """Return what reads a shared directory, and changes nothing in it.

    Raises:
        SettingsError: In the returned function: the directory or a worker file cannot be read.
    """
    reader, reports, noted = DirectoryReader(directory, writes=False), DirectoryReports(directory), 0

    def look() -> Mapping[PoolKey, Observation]:
        nonlocal noted
        check_files(directory)  # The size for a part of the load would be wrong.
        with read_by_user(directory):
            snapshot, processes = reader(), reports()
        if len(reports.set_aside) != noted:  # Not at each look.
            noted = len(reports.set_aside)
            note_set_aside(reports.set_aside)
        seen: dict[PoolIdentity, list[Part]] = defaultdict(list)
        for process in processes:
            for report in process.pools:
                seen[report.pool].append((process, report))
        now = time.time()
        return {
            _key(pool.identity): replace(of_snapshot(pool), present=present_of(seen[pool.identity], now))
            for pool in snapshot.pools
        }

    return look


def _key(identity: PoolIdentity) -> PoolKey:
    names = (label.prometheus for label in POOL_LABELS)
    return key_of(dict(zip(names, identity.values(), strict=True)))


def look_at_page(page: ArgumentPage) -> Look:
    """Return what reads a page of metrics, and beside it what its server says of the holders, if it does.

    Raises:
        SettingsError: In the returned function: the page cannot be read, or has no metrics.
    """
    from prometheus_client.parser import text_string_to_metric_families  # Other commands start without it.

    status = HttpSource(page.url)

    def look() -> Mapping[PoolKey, Observation]:
        text = page.text()
        try:
            families = list(text_string_to_metric_families(text))
        except (ValueError, KeyError):
            fault = "has no metrics in Prometheus' text format; is it the path of the metrics, such as /metrics?"
            raise page.problem(fault) from None
        pools = of_samples(
            Sample(sample.name, sample.labels, sample.value) for family in families for sample in family.samples
        )
        present = _present_of(status)
        return {key: replace(pool, present=present.get(key)) for key, pool in pools.items()}

    return look


def _present_of(status: HttpSource) -> Mapping[PoolKey, Present]:
    """Return what a server says of the holders; nothing where it does not, as that of an older version."""
    try:
        return {_key(pool.pool): pool.present for pool in status().pools if pool.present is not None}
    except SourceError:
        return {}


def loads_between(look: Look, seconds: float, wait: Callable[[float], float]) -> list[NamedLoad]:
    """Look twice and return the load of each pool in between.

    Args:
        look: Reads all pools.
        seconds: How long to wait between the looks.
        wait: Waits that long and returns how long it was in fact.
    """
    before = look()
    waited = wait(seconds)
    after = look()
    names = names_of(list(after))
    return [
        _load(NamedLoad(names[key], None, key=key), before.get(key), now, waited) for key, now in sorted(after.items())
    ]


def _load(named: NamedLoad, before: Observation | None, now: Observation, seconds: float) -> NamedLoad:
    if before is None:
        return named._replace(fault="it was made within the window; look again")
    try:
        load = now.load_since(before, seconds)
    except ValueError as error:
        return named._replace(fault=str(error))
    if now.is_ended and not load.grown.ended:  # It has no size to judge.
        return named._replace(fault="no living process has it")
    return named._replace(load=load)


def names_of(keys: Sequence[PoolKey]) -> dict[PoolKey, str]:
    """Return a name for each pool: its own, and where pools share one, the other labels in which they differ."""
    return {key: " ".join([key[0], *_details(key, [other for other in keys if other[0] == key[0]])]) for key in keys}


def _details(key: PoolKey, same: Sequence[PoolKey]) -> list[str]:
    return [value or "-" for at, value in enumerate(key) if at and len({other[at] for other in same}) > 1]
