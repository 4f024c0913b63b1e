"""What stands beside a use's row: the server's number of the connection, and the name of who checked it out.

Only who reads the words elsewhere wants it, so it is written when a connection is opened, or looked at; never by a
transition, and never read by one.
"""

from pool_exporter.state.layout import CHECKOUT_TIMES, OWNER_NAME_SLOTS, OWNER_NAMES, SERVER_PIDS, Slots


def write_server_pid(slots: Slots, row: int, number: int) -> None:
    """Write the number by which the server knows the connection; *row* is 0 for a connection without one."""
    if row:
        slots[SERVER_PIDS + row - CHECKOUT_TIMES] = number


def write_owner(slots: Slots, row: int, name: str) -> None:
    """Write the first bytes of the owner's name."""
    start = OWNER_NAMES + (row - CHECKOUT_TIMES) * OWNER_NAME_SLOTS
    text = name.encode()[: OWNER_NAME_SLOTS * 8].ljust(OWNER_NAME_SLOTS * 8, b"\0")
    for i in range(OWNER_NAME_SLOTS if row else 0):
        slots[start + i] = int.from_bytes(text[i * 8 : i * 8 + 8], "little", signed=True)


def read_owner(slots: Slots, row: int) -> str:
    """Return what `write_owner` wrote, without a character that was cut in two."""
    start = OWNER_NAMES + (row - CHECKOUT_TIMES) * OWNER_NAME_SLOTS
    text = b"".join(word.to_bytes(8, "little", signed=True) for word in slots[start : start + OWNER_NAME_SLOTS])
    return text.rstrip(b"\0").decode(errors="ignore")
