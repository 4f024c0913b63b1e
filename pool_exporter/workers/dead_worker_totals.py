"""The totals of dead workers: one file with the sums of their counters. This module reads, adds and replaces it.

Any process that may write to the directory may put another file in its place, so it is opened and checked as a worker
file is. compaction.py decides when files are added to it.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import gt
from pathlib import Path
from typing import Final

from pool_exporter.encodable import encodable
from pool_exporter.environment import DEFAULT_FILE_MODE
from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.identity import OTHER_POOL, PoolIdentity, within_limit
from pool_exporter.state.aggregate import added, as_final_counters, is_busy
from pool_exporter.state.pool_slots import UNLIMITED
from pool_exporter.state.unit_uses import summed
from pool_exporter.workers.file_format import CLOSED, OPEN
from pool_exporter.workers.file_reader import ReadFile, content_of
from pool_exporter.workers.last_shown import shown_until
from pool_exporter.workers.schema_translation import SCHEMA, translator
from pool_exporter.workers.volume import replace_file

TOTALS_FILE: Final = "acc.json"
BYTES_MAX: Final = 32 * 1024 * 1024
"""A larger file is refused without being read."""
COMPACTED_MAX: Final = 20_000
"""Maximum number of remembered names of compacted files. A compacted file is removed long before its name is."""
POOLS_MAX: Final = 2048
"""The most pools with counters of their own: an application with a name per engine must not fill the volume."""
COUNT_MAX: Final = 2**80
"""No sum of counters reaches it, and a float can hold it."""

_POOLS_READ_MAX: Final = 2 * POOLS_MAX + 1
"""Earlier releases kept 4,096 pools, and OTHER_POOL."""
_BRACKETS_MAX: Final = 5 * _POOLS_READ_MAX + 10_000
"""More lists and objects than any totals have: `[]` 30 million times would be 1.6 GB in memory."""
_COMMAS_MAX: Final = 1024 * POOLS_MAX


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums of all compacted files.

    Attributes:
        slots: The counters of each pool; its gauges are 0.
        compacted: The names of the compacted files, oldest first (the values are None: an ordered set).
        ended: How many processes have ended, by how.
        hook_errors: Errors of the dead workers' hooks.
        transport_errors: Failed attempts of dead workers to write to the shared directory.
        pools_merged: How many pools were added to OTHER_POOL.
        units: Of pools that units of work have used, nanoseconds by the name of the unit.
    """

    slots: Mapping[PoolIdentity, list[int]] = field(default_factory=dict)
    compacted: Mapping[str, None] = field(default_factory=dict)
    ended: Mapping[str, int] = field(default_factory=dict)
    hook_errors: int = 0
    transport_errors: int = 0
    pools_merged: int = 0
    units: Mapping[PoolIdentity, Mapping[str, int]] = field(default_factory=dict)

    def with_files(self, dead: Iterable[ReadFile], last_shown: Mapping[str, int] | None = None) -> "Totals":
        """Return the totals with the counters of dead workers added.

        Args:
            dead: The files of dead workers.
            last_shown: For a file's name, the time in nanoseconds up to which a page has shown it (last_shown.py).
        """
        slots, ended, compacted, units = dict(self.slots), dict(self.ended), dict(self.compacted), dict(self.units)
        hook_errors, transport_errors, merged = self.hook_errors, self.transport_errors, self.pools_merged
        dead = list(dead)
        end_of = _ends_by_process(dead)
        for found in dead:
            compacted[found.name] = None
            hook_errors += found.file.hook_errors
            transport_errors += found.file.transport_errors
            end = end_of[found.file.writer.process_uuid]
            ended[end] = ended.get(end, 0) + found.file.is_first
            until = shown_until(found, (last_shown or {}).get(found.name, 0))
            for entry in found.file.entries:
                identity = within_limit(entry.identity, slots, POOLS_MAX)
                merged += identity != entry.identity
                final = as_final_counters(entry.slots, until)
                slots[identity] = added((slots[identity], final) if identity in slots else (final,))
                used = entry.units.final(entry.slots, found.file.heartbeat, until)
                if used:
                    units[identity] = summed(units.get(identity, {}), used)
        kept = dict.fromkeys(list(compacted)[-COMPACTED_MAX:])
        return Totals(slots, kept, ended, hook_errors, transport_errors, merged, units)

    def is_behind(self, before: "Totals") -> bool:
        """Return whether these are older than *before*, or begun anew: the file was deleted or replaced.

        The newest name of a compacted file is missing then, or a counter is lower.
        """
        if before.compacted and list(before.compacted)[-1] not in self.compacted:
            return True
        if any(count > self.ended.get(end, 0) for end, count in before.ended.items()):
            return True
        return any(
            identity not in self.slots or any(map(gt, counters, self.slots[identity]))
            for identity, counters in before.slots.items()
        )

    def repaired(self, before: "Totals") -> "Totals":
        """Return totals in which no counter is lower than in *before*, if these are behind it.

        If no file is in both, these were begun anew and the two are added. Otherwise the higher counter is taken.
        """
        is_new = before.compacted.keys().isdisjoint(self.compacted)
        merged, combine = (added, _sum) if is_new else (_highest, max)
        slots = dict(before.slots)
        for own, counters in self.slots.items():
            identity = within_limit(own, slots, POOLS_MAX)
            slots[identity] = merged((slots[identity], counters)) if identity in slots else counters
        ends = [*before.ended, *(end for end in self.ended if end not in before.ended)]
        return Totals(
            slots,
            dict.fromkeys([*before.compacted, *self.compacted]),
            {end: combine(before.ended.get(end, 0), self.ended.get(end, 0)) for end in ends},
            combine(before.hook_errors, self.hook_errors),
            combine(before.transport_errors, self.transport_errors),
            combine(before.pools_merged, self.pools_merged),
            {
                identity: _combined(before.units.get(identity, {}), self.units.get(identity, {}), combine)
                for identity in {**before.units, **self.units}
                if identity in slots
            },
        )


def _sum(one: int, other: int) -> int:
    return one + other


def _combined(one: Mapping[str, int], other: Mapping[str, int], combine: Callable[[int, int], int]) -> dict[str, int]:
    return summed({name: combine(one.get(name, 0), other.get(name, 0)) for name in {**one, **other}})


def _highest(parts: Iterable[Sequence[int]]) -> list[int]:
    return list(map(max, *parts))


def _ends_by_process(dead: Iterable[ReadFile]) -> dict[bytes, str]:
    """Return how each process has ended; its files are found in one pass, for there may be thousands."""
    processes: dict[bytes, list[ReadFile]] = {}
    for found in dead:
        processes.setdefault(found.file.writer.process_uuid, []).append(found)
    return {uuid: end_reason(files) for uuid, files in processes.items()}


def end_reason(files: Sequence[ReadFile]) -> str:
    """Return how the dead process that wrote *files* has ended, as one of `WORKER_ENDS`.

    It was `stopped` if its first file says so. Otherwise it is `crashed` if a connection was used or a caller waited,
    else `lost`.
    """
    first = next((found for found in files if found.file.is_first), files[0])
    if first.file.state == CLOSED:
        return "stopped"
    entries = (entry for found in files for entry in found.file.entries)
    return "crashed" if any(entry.state == OPEN and is_busy(entry.slots) for entry in entries) else "lost"


def totals_file_id(directory: Path) -> object:
    """Return a value that differs when the totals file has been replaced; None if there is no such file."""
    try:
        status = (directory / TOTALS_FILE).lstat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def load(directory: Path) -> Totals:
    """Read the totals; they are empty where there is no file.

    Raises:
        CorruptFile: The file holds something else, whatever that is.
        OSError: The file cannot be read.
    """
    path = directory / TOTALS_FILE
    try:
        text = content_of(path, BYTES_MAX)
    except FileNotFoundError:
        return Totals()
    if text.count(b"[") + text.count(b"{") > _BRACKETS_MAX or text.count(b",") > _COMMAS_MAX:
        raise CorruptFile(str(path), "it has more values than totals can have")
    try:
        return _decoded(json.loads(text))
    except Exception as error:  # noqa: BLE001  # whatever the bytes are, the result is totals or a CorruptFile
        raise CorruptFile(str(path), f"it does not hold totals: {error!r:.200}") from None


def compacted_names(directory: Path) -> Collection[str]:
    """Return the names of the files that are in the totals of *directory*, as far as these can be read."""
    try:
        return load(directory).compacted
    except (CorruptFile, OSError):
        return ()


def _decoded(stored: Mapping[str, object]) -> Totals:
    schema = _mapping(stored["schema"])
    translate = translator(schema)
    slots: dict[PoolIdentity, list[int]] = {}
    for pool in _list(stored["pools"]):
        identity, numbers = _list(pool)
        counters = _counts(numbers, UNLIMITED)
        if len(counters) != schema["words"]:
            raise ValueError(f"a pool has {len(counters)} slots")
        slots[_identity(identity)] = translate(counters)
    if len(slots) > _POOLS_READ_MAX:
        raise ValueError(f"it has {len(slots)} pools")
    ends = _mapping(stored["ended"])
    ended = dict(zip(ends, _counts(list(ends.values())), strict=True))
    hook_errors, transport_errors, merged = _counts(stored["counts"])
    compacted = dict.fromkeys(map(str, _list(stored["folded"])))
    merged += _merge_surplus(slots)
    return Totals(slots, compacted, ended, hook_errors, transport_errors, merged, _units(stored, slots))


def _units(stored: Mapping[str, object], slots: Mapping[PoolIdentity, object]) -> dict[PoolIdentity, dict[str, int]]:
    """Return the units of the pools; an earlier release stores none."""
    units: dict[PoolIdentity, dict[str, int]] = {}
    for pool in _list(stored.get("units", [])):
        values, used = _list(pool)
        own, ns_by_name = _identity(values), _mapping(used)
        ns = dict(zip(map(encodable, ns_by_name), _counts(list(ns_by_name.values())), strict=True))
        identity = own if own in slots else OTHER_POOL
        units[identity] = summed(units.get(identity, {}), ns)
    return units


def _merge_surplus(slots: dict[PoolIdentity, list[int]]) -> int:
    """Add the pools beyond POOLS_MAX, which an earlier release has kept, to OTHER_POOL; return how many they are."""
    surplus = [identity for identity in slots if identity != OTHER_POOL][POOLS_MAX:]
    if surplus:
        parts = [slots.pop(identity) for identity in surplus]
        slots[OTHER_POOL] = added([*parts, slots[OTHER_POOL]] if OTHER_POOL in slots else parts)
    return len(surplus)


def _identity(values: object) -> PoolIdentity:
    return PoolIdentity(*(encodable(str(each)) for each in _list(values)))


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"it must have a list where it has {value!r:.80}")
    return value


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"it must have an object where it has {value!r:.80}")
    return value


def _counts(value: object, least: int = 0) -> list[int]:
    numbers = _list(value)
    counts = [number for number in numbers if type(number) is int and least <= number < COUNT_MAX]
    if len(counts) != len(numbers):
        raise ValueError(f"each count must be a whole number from {least} to {COUNT_MAX - 1}")
    return counts


def save(directory: Path, totals: Totals, file_mode: int = DEFAULT_FILE_MODE) -> int:
    """Replace the totals in one step, and return their size in bytes.

    Raises:
        OSError: They could not be written, and the old ones are still there.
    """
    content = _encoded(totals)
    replace_file(directory, TOTALS_FILE, content, file_mode)
    return len(content)


def _encoded(totals: Totals) -> bytes:
    stored = {
        "schema": SCHEMA,
        "pools": [(identity.values(), numbers) for identity, numbers in totals.slots.items()],
        "folded": list(totals.compacted),  # Versions that share the directory read it by that name.
        "ended": totals.ended,
        "counts": (totals.hook_errors, totals.transport_errors, totals.pools_merged),
        "units": [(identity.values(), units) for identity, units in totals.units.items()],
    }
    return json.dumps(stored, separators=(",", ":")).encode()
