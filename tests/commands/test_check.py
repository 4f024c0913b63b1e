"""`pool-exporter check` imports an engine as its application does, and prints what `check()` finds."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pool_exporter.advice.checks.rule import Rule
from pool_exporter.advice.checks.rules import RULES
from pool_exporter.cli import main

MODULE = """
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

right = create_engine("sqlite://")
wrong = create_engine("sqlite:///shop.db", pool_size=2, pool_reset_on_return=None)
asynchronous = create_async_engine("sqlite+aiosqlite://")
Session = async_sessionmaker(asynchronous)
number = 1

class Settings:
    engine = right

def make():
    return wrong

def fail():
    raise RuntimeError("cannot connect to postgresql://app:hunter2@db/shop")
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module of an application in the current directory."""
    (tmp_path / "checked_application.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("checked_application", None)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Return exit code and output."""
    try:
        code = main(["check", *arguments])
    except SystemExit as ended:
        code = int(ended.code or 0)
    captured = capsys.readouterr()
    return code, captured.out + captured.err


@pytest.mark.parametrize("name", ["right", "Settings.engine"])
def test_nothing_found(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """A right configuration is one line and exit code 0."""
    target = f"checked_application:{name}"

    assert (0, f"{target}: nothing was found.\n") == run(capsys, target)


@pytest.mark.parametrize("name", ["wrong", "make"])
def test_errors_are_exit_code_1(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """An engine, or a function that returns one: what is found, how to mend it, and how much it is."""
    code, text = run(capsys, f"checked_application:{name}")

    assert 1 == code
    assert text.startswith("error P24: reset_on_return is None.")
    assert "\n  Fix: Leave reset_on_return at its default" in text
    assert text.endswith(f"checked_application:{name}: 1 error. More: pool-exporter check --explain P24.\n")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_explain(capsys: pytest.CaptureFixture[str], rule: Rule) -> None:
    """What a rule means is printed without an engine or a directory, by its id in either case."""
    parts = f"WHY {rule.why} DO {rule.fix} NOTE Not found for: {rule.guard} FROM {rule.source}."
    shown = f"{rule.id}: {rule.title} ({rule.severity}) {parts}"
    code, text = run(capsys, "--explain", rule.id.lower())

    assert (0, " ".join(shown.split())) == (code, " ".join(text.split()))


def test_explain_of_no_rule(capsys: pytest.CaptureFixture[str]) -> None:
    """An id that no rule has is an error with those there are."""
    code, text = run(capsys, "--explain", "P99")

    assert 2 == code
    assert "P31" in text


def test_warnings_are_exit_code_0(capsys: pytest.CaptureFixture[str]) -> None:
    """A sessionmaker is checked with its engine; without an error the exit code is 0."""
    code, text = run(capsys, "checked_application:Session", "--json")

    assert 0 == code
    assert ["P26"] == [each["id"] for each in json.loads(text)["findings"]]


def test_silenced(capsys: pytest.CaptureFixture[str]) -> None:
    """A rule is left out by its id."""
    assert 0 == run(capsys, "checked_application:wrong", "--silence=p24,P14")[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["checked_application"], "MODULE:ENGINE='checked_application': must be MODULE:NAME, such as app.db:engine"),
        (["checked_application:nothing"], "cannot be imported: AttributeError"),
        (["no_such_module:engine"], "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        (["checked_application:number"], "TypeError: check() takes an Engine, an AsyncEngine or a Pool, not int"),
        (["checked_application:fail"], "RuntimeError\n"),
        (["checked_application:right", "--silence=P99"], "there is no rule P99; there are P01, "),
        (["checked_application:right", "--threads=0"], "--threads='0': must be a whole number from 1"),
    ],
)
def test_wrong_targets(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    """One line says what cannot be checked and why, without a password, and the exit code is 2."""
    code, text = run(capsys, *arguments)

    assert 2 == code
    assert message in text
    assert 1 == text.count("\n")
    assert "hunter2" not in text
