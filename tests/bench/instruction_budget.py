"""`python -m tests.bench.instruction_budget`: whether a checkout and its return keep their budget of instructions.

`make check` runs it: a count needs no quiet machine, as a time does. It counts the pair of a thread on this Python,
without the package and with it, in a minute of processor time. Nothing here may measure time or write a report.
"""

import sys
from typing import Final

import sqlalchemy

from tests.bench import callgrind
from tests.bench.budgets import BUDGETS, FAIL, Budget
from tests.bench.driver import Measured
from tests.bench.instructions import KINDS, count
from tests.bench.results import Results

KIND: Final = "sync"
MODE: Final = "always"
TITLE: Final = f"instructions of {KINDS[KIND].title}, over bare"


PYTHON: Final = (3, 11)
"""The version for which the budget is. On 3.10 each transition takes a lock; from 3.12 on a bare checkout is faster."""


def budget() -> Budget:
    """Return the budget of the pair, which `make bench` holds too."""
    (found,) = (each for each in BUDGETS if each.title == TITLE)
    return found


def judged(version: str, counts: Measured, python: tuple[int, int] = PYTHON) -> tuple[int, str]:
    """Return the exit code, and a sentence on what was counted.

    Args:
        version: The first part of the keys of *counts*.
        counts: The instructions of a pair by version, kind and mode, or why there are none.
        python: The version of Python. On another one than `PYTHON` no count is too high.

    Returns:
        The code is 1 where the pair takes more than its budget, or fails with the package. It is 0 where the pair
        fails without the package: then callgrind cannot run this Python.
    """
    bare = counts[version, KIND, "bare"]
    if isinstance(bare, str):
        return 0, f"not counted: without pool_exporter, {bare}"
    results = Results((), [version], {}, {}, {}, {}, {}, {}, {}, counts)
    limit = budget()
    value = limit.value(results, version)
    text = value if isinstance(value, str) else limit.form.format(value)
    text = f"{TITLE}: {text}, at most {limit.form.format(limit.limit_of(version))} on CPython 3.11"
    is_kept = limit.verdict(value, version) != FAIL or (python != PYTHON and not isinstance(value, str))
    return int(not is_kept), text


def main() -> int:
    """Print what was counted, and return 0 unless the budget is not kept; without valgrind, print that."""
    version = sqlalchemy.__version__
    code, text = 0, f"not counted: {callgrind.PROGRAM} is not installed; deploy/ci/install-valgrind does it on Debian"
    if callgrind.is_found():
        code, text = judged(
            version, count({version: sys.executable}, [KIND], modes=["bare", MODE]), sys.version_info[:2]
        )
    print(f"CPython {sys.version.split()[0]}, SQLAlchemy {version}: {text}")
    return code


if __name__ == "__main__":
    sys.exit(main())
