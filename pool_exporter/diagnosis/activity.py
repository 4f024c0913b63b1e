"""What a stack of frames does: execute SQL, open a connection, wait for a pool, or run the application's own code.

The innermost frame decides nothing: a driver may call functions of the application, and the adapters of asynchronous
drivers wait for their event loop. The first frame of SQLAlchemy that is one of those below decides, from the innermost
outwards. Nothing here reads a frame object.
"""

from typing import Final

from pool_exporter.diagnosis.frames import Frame, Frames
from pool_exporter.hooks.code_origin import Origin, origin_of
from pool_exporter.metrics.holders import EXECUTING, OPENING, OWN_CODE, UNKNOWN, WAITING_FOR_POOL

_EVENTS: Final = ("/event/attr.py", "/event/legacy.py")
_FETCHES: Final = frozenset({"fetchone", "fetchmany", "fetchall"})
_CURSOR: Final = "/engine/cursor.py"
_QUEUE: Final = "/util/queue.py"
_DIALECT: Final = "do_"
"""The methods by which a dialect calls its driver begin so: do_execute, do_commit, do_ping."""


def activity_of(frames: Frames) -> tuple[str, int]:
    """Return what the stack does.

    Args:
        frames: A stack, innermost first.

    Returns:
        One of `EXECUTING`, `OPENING`, `WAITING_FOR_POOL`, `OWN_CODE` and `UNKNOWN`, and the index of the frame that
        decided it. The frames before that index are of the call into the driver or the pool.
    """
    of_sqlalchemy = [(index, frame) for index, frame in enumerate(frames) if origin_of(frame[0]) is Origin.SQLALCHEMY]
    for index, (code, _) in of_sqlalchemy:
        if code.co_name == "__connect":  # Whatever runs in it, as the dialect's first queries.
            return OPENING, index
    for index, frame in of_sqlalchemy:
        found = _decision(frame)
        if found is not None:
            return found, 0 if found == OWN_CODE else index
    return (OWN_CODE if any(_is_own(frame) for frame in frames) else UNKNOWN), 0


def _decision(frame: Frame) -> str | None:
    name, file = frame[0].co_name, frame[0].co_filename.replace("\\", "/")
    if file.endswith(_EVENTS):  # It calls a listener of the application.
        return OWN_CODE
    if name.startswith(_DIALECT) or (name in _FETCHES and file.endswith(_CURSOR)):
        return EXECUTING
    if name == "_do_get" or file.endswith(_QUEUE):
        return WAITING_FOR_POOL
    return None


def _is_own(frame: Frame) -> bool:
    return origin_of(frame[0]) in (Origin.APPLICATION, Origin.LIBRARY)
