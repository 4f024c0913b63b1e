"""The tutorial's checklist and rules of thumb have all that a set-up is asked for, and name rules that there are."""

import re

import pytest

from pool_exporter.advice.checks.rules import RULES
from pool_exporter.advice.rules_of_thumb import RULES_OF_THUMB
from tests.docs.pages import DOCS

TUTORIAL = (DOCS / "tutorial" / "set-up-a-service.md").read_text()
CHECKLIST = TUTORIAL.partition("## Before production")[2]

ASKED_FOR = {
    "an asynchronous engine with the right driver": {"P17", "P18", "P27"},
    "a pool with a size, a limit and a timeout": {"P02", "P03", "P04"},
    "dead connections are noticed": {"P12", "P13"},
    "`expire_on_commit=False`": {"P26"},
    "one session for each request, returned on every path": set(),
    "a rollback on exceptions": {"P24"},
    "a lifespan that closes the pool": {"P33"},
    "settings from the environment": set(),
    "tests on a database in memory": {"P11", "P15", "P16"},
    "a connection string that is right for its database": {"P11", "P14", "P17", "P18"},
    "a time limit for opening, and a name at the server": {"P20", "P22"},
    "the pools of all processes fit the server": {"P01"},
}
"""What the guides of asynchronous SQLAlchemy ask for before production, and the rules that check it."""


def rows(text: str) -> list[list[str]]:
    """Return the cells of each row of a table but the heading."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


@pytest.mark.parametrize("asked", ASKED_FOR)
def test_the_checklist_has_it(asked: str) -> None:
    """One row has the point, with the rules that check it, or with what else does."""
    (row,) = [row for row in rows(CHECKLIST) if asked in row[0]]

    assert ASKED_FOR[asked] == set(re.findall(r"\bP\d\d\b", row[1]))
    assert row[1]


@pytest.mark.parametrize(
    "name",
    [
        *("DATABASE_URL", "DB_POOL_SIZE", "DB_MAX_OVERFLOW"),
        *("DB_POOL_PRE_PING", "DB_POOL_RECYCLE", "DB_ECHO"),
    ],
)
def test_settings_come_from_the_environment(name: str) -> None:
    """The tutorial's program reads each variable that such guides have."""
    assert f'os.environ.get("{name}", ' in TUTORIAL


def test_the_checklist_names_existing_rules() -> None:
    """Every rule that the tutorial names is one of `check`, and it says how many there are."""
    ids = {rule.id for rule in RULES}

    assert set() == set(re.findall(r"\bP\d\d\b", TUTORIAL)) - ids
    assert f"are [{len(ids)} rules](" in TUTORIAL


def test_the_rules_of_thumb_are_those_of_advise() -> None:
    """The tutorial's table has the loads and sizes that `pool-exporter advise` prints beside its answer."""
    found = [row for row in rows(TUTORIAL.partition("## The size")[2]) if row[0] in ("light", "medium", "heavy")]

    assert [(rule.load, rule.pool_size) for rule in RULES_OF_THUMB] == [(row[0], row[2]) for row in found]
    assert [rule.max_overflow for rule in RULES_OF_THUMB] == [row[3].partition(":")[0] for row in found]
    assert ["below 100", "100 to 1,000", "above 1,000"] == [row[1] for row in found]
    assert [100, 1000] == [rule.below for rule in RULES_OF_THUMB[:-1]]
