"""Findings of `check` in a diagnosis: those that explain its verdict, and no others."""

import pytest

from pool_exporter.advice.checks.facts import Facts, ProcessFacts, ServerFacts
from pool_exporter.advice.checks.rules import RULES
from pool_exporter.diagnosis.texts.diagnosis_text import diagnosis, note
from pool_exporter.diagnosis.texts.explanations import EXPLAINED_BY, NOT_IN_REPORTS, SHOWN_MAX, explanations
from pool_exporter.diagnosis.verdict import VERDICTS
from tests.advice.checks.test_rules import FOUND
from tests.diagnosis.test_diagnosis_text import FULL

FINDINGS = {rule.id: f"Check {rule.id}: {rule.title}." for rule in RULES}
"""As if every rule had found something."""


@pytest.mark.parametrize("verdict", EXPLAINED_BY)
def test_rules_and_verdicts_exist(verdict: str) -> None:
    """Each row is for a verdict that is given, and names rules that there are."""
    assert verdict in VERDICTS
    assert set() == set(EXPLAINED_BY[verdict]) - set(FINDINGS)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_findings_of_the_verdict(verdict: str) -> None:
    """Of all findings a verdict has its own, in their order, and not many."""
    expected = [FINDINGS[rule] for rule in EXPLAINED_BY.get(verdict, ())][:SHOWN_MAX]

    assert expected == list(explanations(verdict, FINDINGS))
    assert () == explanations(verdict, {})


def test_rules_that_the_verdict_itself_fires_explain_nothing() -> None:
    """A rule that finds something because of the verdict would say the same twice."""
    assert set() == {"P07", "P27", "P32"} & {rule for rules in EXPLAINED_BY.values() for rule in rules}


def test_what_no_report_can_find() -> None:
    """Without the server, the number of threads and the sessionmaker exactly these rules find nothing."""
    explaining = {rule for rules in EXPLAINED_BY.values() for rule in rules}
    known = {
        rule: [each._replace(server=ServerFacts(), process=_in_a_report(each)) for each in given]
        for rule, given in FOUND.items()
    }

    assert set(NOT_IN_REPORTS) == {
        rule.id for rule in RULES if rule.id in explaining and not any(map(rule.find, known[rule.id]))
    }


def _in_a_report(given: Facts) -> ProcessFacts:
    return given.process._replace(threads=None, expires_on_commit=None, has_async_sessions=False, processes=1)


def test_it_is_on_the_screen_and_in_the_note() -> None:
    """The finding is a note of the report, in its log line and in the note of the TimeoutError; another one is not."""
    made = diagnosis(FULL._replace(findings=FINDINGS), "server_full")

    assert ("Check P01: More connections than the server has.", *made.explained_by[1:]) == made.explained_by
    assert made.notes[-len(made.explained_by) :] == made.explained_by
    assert "NOTE  " in str(made)
    assert "Check P01: More connections than the server has." in str(made)
    assert [f"  {text}" for text in made.explained_by] == note(made).splitlines()[-SHOWN_MAX:]
    assert "P13" not in str(made) + note(made)


def test_without_findings_nothing_is_added() -> None:
    """A report without findings is as it was."""
    assert () == diagnosis(FULL).explained_by
    assert "Check" not in note(diagnosis(FULL))
