"""What dead workers leave: their files are added to one accumulator and removed, without a counter that ever falls.

The order that makes it safe, whoever is killed when:

1. Only the holder of the directory's leader lock folds.
2. It writes the accumulator beside the old one, with the dead files' sums and their names, and renames it: that is the
   moment at which they are counted there.
3. Then it unlinks the files. One that is still there and named in the accumulator was counted: it is only unlinked.

Every other reader reads the files first and the accumulator last, and leaves out the files that are named in it. Read
the other way round, a file that is folded in between is in neither, and every counter falls for one scrape.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any, Final

from pool_exporter.directory import MODE, TEMPORARY, Found, scan
from pool_exporter.errors import CorruptFile
from pool_exporter.fileformat import CLOSED
from pool_exporter.merge import added, buried
from pool_exporter.schema import SCHEMA, translator
from pool_exporter.snapshot import PoolIdentity
from pool_exporter.state import UNLIMITED

ACCUMULATOR: Final = "acc.json"
LEADER: Final = ".leader"
FOLDED_MAX: Final = 20_000
"""So many names of folded files are remembered; a file that was folded is gone long before its name is."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What all folded files add up to: words that only count, by pool, and the files' names."""

    words: dict[PoolIdentity, list[int]] = field(default_factory=dict)
    folded: tuple[str, ...] = ()
    ended: dict[str, int] = field(default_factory=dict)

    def with_files(self, dead: Iterable[Found]) -> "Totals":
        """Return the totals with these dead files' sums, names and ends added."""
        words = dict(self.words)
        ended = dict(self.ended)
        names = list(self.folded)
        for found in dead:
            names.append(found.name)
            end = "stopped" if found.file.state == CLOSED else "crashed"
            ended[end] = ended.get(end, 0) + 1
            for record in found.file.records:
                last = buried(record.words, found.file.heartbeat)
                before = words.get(record.identity)
                words[record.identity] = added((last,) if before is None else (before, last))
        return Totals(words, tuple(names[-FOLDED_MAX:]), ended)


def load(directory: Path) -> Totals:
    """Read the accumulator, empty where there is none. Raises CorruptFile when damaged, OSError when unreadable."""
    path = directory / ACCUMULATOR
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return Totals()
    try:
        return _decoded(json.loads(text))
    except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise CorruptFile(str(path), f"it is no accumulator: {error!r}") from None


def _decoded(stored: Any) -> Totals:
    translate = translator(stored["schema"])
    words = {PoolIdentity(*map(str, identity)): translate(numbers) for identity, numbers in stored["pools"]}
    if any(number < 0 for numbers in words.values() for number in numbers if number != UNLIMITED):
        raise ValueError("it has a count below 0")
    ended = {str(end): int(count) for end, count in stored["ended"].items()}
    return Totals(words, tuple(map(str, stored["folded"])), ended)


def save(directory: Path, totals: Totals) -> None:
    """Replace the accumulator in one step. Raises OSError, with the old one still there, when the volume is full."""
    pools = [(identity.values(), numbers) for identity, numbers in totals.words.items()]
    stored = {"schema": SCHEMA, "pools": pools, "folded": totals.folded, "ended": totals.ended}
    temporary = directory / f"{TEMPORARY}{ACCUMULATOR}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(stored, separators=(",", ":")).encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(directory / ACCUMULATOR)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def fold(directory: Path) -> int:
    """Fold the dead workers' files, unless somebody else is at it; return how many there were.

    Raises OSError when that is not possible, and CorruptFile when the accumulator is damaged; then nothing has changed.
    """
    with _leader(directory) as is_leader:
        if not is_leader:
            return 0
        totals = load(directory)
        gone = [found for found in scan(directory).found if not found.is_alive]
        dead = [found for found in gone if found.name not in totals.folded]
        if dead:
            save(directory, totals.with_files(dead))
        for found in gone:
            (directory / found.name).unlink(missing_ok=True)
        return len(dead)


@contextmanager
def _leader(directory: Path) -> Iterator[bool]:
    """Hold the directory's lock, or tell that somebody else does. The kernel frees it when its holder is killed."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(directory / LEADER, flags, MODE)
    try:
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
