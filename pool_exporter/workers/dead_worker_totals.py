"""What dead workers have left, added up, in one file: how it is read, and how it is replaced in one step.

It stands where anybody who may write the directory may put something else, so it is opened and checked as a worker's
file is. Whether and when something is added to it, fold.py says.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.state.aggregate import added, as_final_counters
from pool_exporter.state.pool_slots import UNLIMITED
from pool_exporter.workers.file_format import CLOSED
from pool_exporter.workers.file_reader import MODE, TEMPORARY, ReadFile, opened, size_of
from pool_exporter.workers.schema_translation import SCHEMA, translator

TOTALS_FILE: Final = "acc.json"
BYTES_MAX: Final = 64 * 1024 * 1024
FOLDED_MAX: Final = 20_000
"""So many names of folded files are remembered; a file that was folded is gone long before its name is."""
POOLS_MAX: Final = 4096
"""So many pools have counters of their own; who makes up a name for each engine must not fill the volume."""
COUNT_MAX: Final = 2**80
"""No sum of ours reaches it, and a float holds it."""
OTHER: Final = PoolIdentity("other")
"""The pool to which all beyond POOLS_MAX are added."""

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Totals:
    """What all folded files add up to: words that only count, by pool, and the files' names.

    `folded` is an ordered set; `together` counts pools that were added to OTHER.
    """

    slots: dict[PoolIdentity, list[int]] = field(default_factory=dict)
    compacted: Mapping[str, None] = field(default_factory=dict)
    ended: Mapping[str, int] = field(default_factory=dict)
    hook_errors: int = 0
    transport_errors: int = 0
    pools_merged: int = 0

    def with_files(self, dead: Iterable[ReadFile]) -> "Totals":
        """Return the totals with these dead files' sums, names and ends added."""
        slots, ended, folded = dict(self.slots), dict(self.ended), dict(self.compacted)
        hook_errors, transport_errors, together = self.hook_errors, self.transport_errors, self.pools_merged
        for found in dead:
            folded[found.name] = None
            hook_errors += found.file.hook_errors
            transport_errors += found.file.transport_errors
            end = end_reason(found)
            ended[end] = ended.get(end, 0) + found.file.is_first
            for record in found.file.entries:
                is_other = record.identity not in slots and len(slots) >= POOLS_MAX
                identity = OTHER if is_other else record.identity
                together += is_other
                last = as_final_counters(record.slots, found.file.heartbeat)
                slots[identity] = added((slots[identity], last) if identity in slots else (last,))
        kept = dict.fromkeys(list(folded)[-FOLDED_MAX:])
        return Totals(slots, kept, ended, hook_errors, transport_errors, together)


def end_reason(found: ReadFile) -> str:
    """Return how a dead file's process ended, as one of `catalog_exporter.WORKER_ENDS`."""
    return "stopped" if found.file.state == CLOSED else "crashed"


def totals_file_id(directory: Path) -> object:
    """Return what tells the accumulator from one that has replaced it, None where there is none."""
    try:
        status = (directory / TOTALS_FILE).lstat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def load(directory: Path) -> Totals:
    """Read the accumulator, empty where there is none. Raises CorruptFile when damaged, OSError when unreadable."""
    path = directory / TOTALS_FILE
    try:
        with opened(path) as descriptor:
            size = size_of(descriptor, str(path), BYTES_MAX)
            text = b"{}" if size is None else os.pread(descriptor, size, 0)
    except FileNotFoundError:
        return Totals()
    try:
        return _decoded(json.loads(text))
    except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise CorruptFile(str(path), f"it is no accumulator: {error!r}") from None


def _decoded(stored: dict[str, Any]) -> Totals:
    translate = translator(stored["schema"])
    for _, numbers in stored["pools"]:
        if len(numbers) != stored["schema"]["words"] or not all(map(_is_count, numbers)):
            raise ValueError("it has a pool with other than counts")
    slots = {PoolIdentity(*map(str, identity)): translate(numbers) for identity, numbers in stored["pools"]}
    ended = {str(end): int(count) for end, count in stored["ended"].items()}
    folded = dict.fromkeys(map(str, stored["folded"]))
    hook_errors, transport_errors, together = map(int, stored["counts"])
    return Totals(slots, folded, ended, hook_errors, transport_errors, together)


def _is_count(number: object) -> bool:
    return type(number) is int and UNLIMITED <= number < COUNT_MAX


def save(directory: Path, totals: Totals) -> None:
    """Replace the accumulator in one step. Raises OSError, with the old one still there, when the volume is full."""
    temporary = directory / f"{TEMPORARY}{TOTALS_FILE}-{uuid4().hex}"
    descriptor = os.open(temporary, _FLAGS, MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_encoded(totals))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(directory / TOTALS_FILE)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _encoded(totals: Totals) -> bytes:
    stored = {
        "schema": SCHEMA,
        "pools": [(identity.values(), numbers) for identity, numbers in totals.slots.items()],
        "folded": list(totals.compacted),
        "ended": totals.ended,
        "counts": (totals.hook_errors, totals.transport_errors, totals.pools_merged),
    }
    return json.dumps(stored, separators=(",", ":")).encode()
