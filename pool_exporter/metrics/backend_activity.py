"""What one backend of a database server does at the moment of a report, and what it waits for.

Pure values; nothing here may know a driver or how they are shown.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BackendActivity:
    """One backend, as its server describes it.

    Attributes:
        pid: The server's process or thread id.
        state: What it does, in the server's words: "active", "idle in transaction"; "" if the server hides it.
        seconds: For how long it has been in that state.
        wait_event: What it waits for, in the server's words: "Lock: transactionid"; "" for nothing.
        blockers: The pids of the backends that keep the lock that it waits for; 0 is a prepared transaction.
        application: The client's name: application_name, or the user where there is none.
        statement: The first word of its last statement, or the whole statement where that is allowed; "" if unknown.
    """

    pid: int
    state: str = ""
    seconds: float = 0.0
    wait_event: str = ""
    blockers: tuple[int, ...] = ()
    application: str = ""
    statement: str = ""
