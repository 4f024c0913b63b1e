"""The details of a tracked connection: its number on the server, when it was opened, and the name of its owner.

Readers in other processes need them, and a report needs the number. The hooks write them when a connection is opened or
found open, and at each `refresh()`. No transition reads them; the one that clears a connection's slot clears its server
pid too. *slot* is that of the checkout, 0 for an untracked one, which has no details.
"""

from collections.abc import Sequence
from typing import Final

from pool_exporter.state.layout import CHECKOUT_TIMES, OWNER_NAME_SLOTS, OWNER_NAMES, SECOND, SERVER_PIDS, Slots

_PID_BITS: Final = 32
"""The server pid is in the lower bits of its slot, the time of opening, in seconds, in the higher ones."""


def write_server_pid(slots: Slots, slot: int, server_pid: int, opened: int = 0) -> None:
    """Write the number by which the server knows the connection, and when this process opened it.

    Args:
        slots: The slots of the pool.
        slot: The slot of the checkout.
        server_pid: The number; 0 if it is unknown, and then the time is not written either: only probes need it.
        opened: When the process opened it, in nanoseconds since ORIGIN; 0 if the process found it open.
    """
    if slot:
        is_known = 0 < server_pid < 1 << _PID_BITS
        seconds = max(1, opened // SECOND) if opened else 0
        slots[SERVER_PIDS + slot - CHECKOUT_TIMES] = seconds << _PID_BITS | server_pid if is_known else 0


def read_server_pid(slots: Sequence[int], slot: int) -> tuple[int, int]:
    """Return the number that `write_server_pid` wrote, and the time of opening, to the second."""
    seconds, server_pid = divmod(max(0, slots[SERVER_PIDS + slot - CHECKOUT_TIMES]), 1 << _PID_BITS)
    return server_pid, seconds * SECOND


def write_owner(slots: Slots, slot: int, name: str) -> None:
    """Write the first bytes of the owner's name, as many as its slots hold."""
    start = OWNER_NAMES + (slot - CHECKOUT_TIMES) * OWNER_NAME_SLOTS
    text = name.encode(errors="replace")[: OWNER_NAME_SLOTS * 8].ljust(OWNER_NAME_SLOTS * 8, b"\0")
    for i in range(OWNER_NAME_SLOTS if slot else 0):
        slots[start + i] = int.from_bytes(text[i * 8 : i * 8 + 8], "little", signed=True)


def read_owner(slots: Sequence[int], slot: int) -> str:
    """Return what `write_owner` wrote, without a character that was cut in two."""
    start = OWNER_NAMES + (slot - CHECKOUT_TIMES) * OWNER_NAME_SLOTS
    text = b"".join(value.to_bytes(8, "little", signed=True) for value in slots[start : start + OWNER_NAME_SLOTS])
    return text.rstrip(b"\0").decode(errors="ignore")
