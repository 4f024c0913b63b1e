"""The details of a tracked checkout: the backend's process id on the server, and the name of the owner.

Only readers in other processes need them. They are written when a connection is opened and by `refresh()`, never by a
transition, and no transition reads them. *slot* is that of the checkout, 0 for an untracked one, which has no details.
"""

from pool_exporter.state.layout import (
    CHECKOUT_TIMES,
    OPENED_TIMES,
    OWNER_NAME_SLOTS,
    OWNER_NAMES,
    SERVER_PIDS,
    Slots,
)


def write_server_pid(slots: Slots, slot: int, server_pid: int, opened: int = 0) -> None:
    """Write the number by which the server knows the connection, and when it was opened; 0 if it was found open."""
    if slot:
        slots[OPENED_TIMES + slot - CHECKOUT_TIMES] = opened
        slots[SERVER_PIDS + slot - CHECKOUT_TIMES] = server_pid


def write_owner(slots: Slots, slot: int, name: str) -> None:
    """Write the first bytes of the owner's name, as many as its slots hold."""
    start = OWNER_NAMES + (slot - CHECKOUT_TIMES) * OWNER_NAME_SLOTS
    text = name.encode()[: OWNER_NAME_SLOTS * 8].ljust(OWNER_NAME_SLOTS * 8, b"\0")
    for i in range(OWNER_NAME_SLOTS if slot else 0):
        slots[start + i] = int.from_bytes(text[i * 8 : i * 8 + 8], "little", signed=True)


def read_owner(slots: Slots, slot: int) -> str:
    """Return what `write_owner` wrote, without a character that was cut in two."""
    start = OWNER_NAMES + (slot - CHECKOUT_TIMES) * OWNER_NAME_SLOTS
    text = b"".join(value.to_bytes(8, "little", signed=True) for value in slots[start : start + OWNER_NAME_SLOTS])
    return text.rstrip(b"\0").decode(errors="ignore")
