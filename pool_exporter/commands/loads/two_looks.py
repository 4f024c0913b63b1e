"""Where `pool-exporter advise` takes the loads of pools from: two looks at a shared directory or at a page of metrics.

`advice.loads.busiest_hour` has the third source. Nothing here may compute a load or a size.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from pool_exporter.advice.loads.named_load import NamedLoad, loads_since
from pool_exporter.advice.observation import Observation, PoolKey, Sample, key_of, of_samples, of_snapshot
from pool_exporter.advice.present import Present, Reported, present_of
from pool_exporter.commands.directory_argument import check_files, note_set_aside, read_by_user
from pool_exporter.commands.loads.argument_page import ArgumentPage
from pool_exporter.commands.terminal.http_source import HttpSource, SourceError
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.pool_metrics import POOL_LABELS
from pool_exporter.workers.directory_snapshot import DirectoryReader
from pool_exporter.workers.reports.directory_reports import DirectoryReports

Look: TypeAlias = Callable[[], Mapping[PoolKey, Observation]]
"""Returns all pools as they are now."""


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
        seen: dict[PoolIdentity, list[Reported]] = defaultdict(list)
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
    return loads_since(before, look(), waited)
