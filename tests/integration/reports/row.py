"""One row of the table of field reports."""

from dataclasses import dataclass
from typing import Final

HERE: Final = "tests/integration/reports"


@dataclass(frozen=True)
class Row:
    """A situation from public reports: what is true in it, what this package reports, and the tests that show it."""

    id: str
    """The letter of its table and its number in it."""
    source: str
    """The reports, as project#number, or where else the situation is from."""
    situation: str
    truth: str
    """What the server, SQLAlchemy's pool or the application's own count say."""
    answer: str
    """What this package reports when it is right."""
    tests: tuple[str, ...] = ()
    """The tests that show it, as path::function."""
    not_yet: str = ""
    """What is wrong today, and the item of the issue that is to mend it; "" when the answer is right."""
    not_here: str = ""
    """Why the situation is not replayed; "" when a test shows it."""

    @property
    def status(self) -> str:
        """Return "right", "not yet right: …" or "not replayed: …"."""
        if self.not_here:
            return f"not replayed: {self.not_here}"
        return f"**not yet right**: {self.not_yet}" if self.not_yet else "right"


def here(module: str, *functions: str) -> tuple[str, ...]:
    """Return the names of tests of one module of this folder."""
    return tuple(f"{HERE}/test_{module}.py::test_{function}" for function in functions)
