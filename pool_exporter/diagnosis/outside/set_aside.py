"""Names the worker files of a shared directory that could not be used, says why, and what to do.

What their processes hold is missing from what a command shows. Nothing here may read a file.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pool_exporter.diagnosis.texts.wording import counted, listed, paragraph, printable
from pool_exporter.errors import CorruptFile
from pool_exporter.workers.contents.readable import IN_GROUP

FILES_MAX: Final = 5
"""At most this many files of one reason are named."""

_DAMAGED: Final = "Remove the file when its process has ended. If a worker of pool_exporter has written it, report it."
ADVICE: Final[Mapping[str, str]] = {
    "version": "Run one version of pool_exporter in all workers, the sidecar and this command.",
    "irregular": "Remove it, and give other programs a directory of their own: no worker has made it under this name.",
    "unreadable": f"Run this {IN_GROUP}. Where the reason is not a permission, look at the volume.",
    "corrupt": _DAMAGED,
    "shrunk": _DAMAGED,
}
"""What to do, by the reason: see `exporter_metrics.SET_ASIDE`."""


def set_aside_lines(files: Sequence[CorruptFile]) -> list[str]:
    """Return which files could not be used, why, and what to do, for an operator; nothing if there is none."""
    if not files:
        return []
    by_reason: dict[str, list[CorruptFile]] = defaultdict(list)
    for each in files:
        by_reason[each.reason].append(each)
    count = counted(len(files), "worker file")
    first = f"{count} could not be used: what {'its process' if len(files) == 1 else 'their processes'} may hold is not"
    return [f"{first} shown.", *(line for reason in sorted(by_reason) for line in _reason(reason, by_reason[reason]))]


def _reason(reason: str, files: Sequence[CorruptFile]) -> Iterator[str]:
    more = [f"and {len(files) - FILES_MAX} more"] if len(files) > FILES_MAX else []
    yield from listed("FILE", [*(f"{each.path}: {each.fault} ({reason})" for each in files[:FILES_MAX]), *more])
    yield from paragraph("DO", ADVICE[reason])


def set_aside_sentence(files: Sequence[CorruptFile]) -> str:
    """Return in one line how many files could not be used, and one of them with what to do; "" if there is none."""
    if not files:
        return ""
    count, first = counted(len(files), "worker file"), files[0]
    return printable(f"{count} could not be used, such as {first.path}: {first.fault}. {ADVICE[first.reason]}")


def set_aside_json(files: Sequence[CorruptFile]) -> list[dict[str, str]]:
    """Return the same as values for JSON."""
    return [{"path": each.path, "reason": each.reason, "fault": each.fault} for each in files]
