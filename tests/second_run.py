"""`pytest --second-run=starts`: a test that failed because a program did not start is run once more, in a new process.

A program that finds its port taken, or that a full machine keeps from starting within a minute, says nothing about what
the test shows. Any other failure is a fault of the test or of the package, and stays one.

`--second-run=any`, which CI uses, also runs other failed tests of real processes once more, as CPython's
`regrtest --rerun` does. A race of one in ten thousand tests then does not stop another change, and is printed
with its first failure; on a developer's machine it fails the run, because that is where it can be mended.

CI gives a race a second run each time, until a person adds to tests/known_races.txt the line that the run prints: a
test of that list has no such second run.

The second run is after all others: new servers, new fixtures of every scope, an idle machine, and its time limit. A
unit test is never run again.
"""

import subprocess
import sys
from collections.abc import Generator, Iterable
from datetime import datetime, timezone

import pytest

from tests.fixtures.processes import DidNotStart
from tests.known_races import FILE, REPORT, Race, known, write_report
from tests.time_limits import has_real_processes

STARTS, ANY = "starts", "any"

FILES_MAX = {STARTS: 5, ANY: 2}
"""If tests of more files have failed, it is not by chance."""

_NOT_STARTED = "is_not_started"

NEEDED = "passed at the second run"
"""The outcome, as the last line of pytest counts it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--second-run",
        choices=[STARTS, ANY],
        help="run failed tests of real processes once more: those of which a program did not start, or any",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin to note failures, but not in the workers of pytest-xdist: these send their reports to this process."""
    if config.getoption("second_run") is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SecondRun(config))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note in a report whether a program did not start; pytest-xdist passes it on to the process that counts."""
    report = yield
    report.__dict__[_NOT_STARTED] = call.excinfo is not None and call.excinfo.errisinstance(DidNotStart)
    return report


def is_not_started(report: pytest.TestReport) -> bool:
    """Return whether the test failed because a program did not start."""
    return bool(report.__dict__.get(_NOT_STARTED))


def by_file(nodeids: Iterable[str]) -> list[list[str]]:
    """Return the tests of each file: they share fixtures, which may be what has failed."""
    files: dict[str, list[str]] = {}
    for nodeid in nodeids:
        files.setdefault(nodeid.partition("::")[0], []).append(nodeid)
    return list(files.values())


class SecondRun:
    """The failures of a run, and which of them were none at the second run."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._failures: dict[str, list[pytest.TestReport]] = {}
        self._passed: set[str] = set()
        self._known = {race.nodeid for race in known(config.rootpath)}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure."""
        if report.failed:
            self._failures.setdefault(report.nodeid, []).append(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Run what has failed once more, and let the run pass if everything passes then."""
        files = by_file(nodeid for nodeid in self._failures if self._is_run_again(nodeid))
        if exitstatus != pytest.ExitCode.TESTS_FAILED or len(files) > FILES_MAX[self._which]:
            return
        self._passed = {nodeid for nodeids in files if self._passes(nodeids) for nodeid in nodeids}
        self._move_reports()
        if self._races():
            write_report(self._config.rootpath, self._races())
        if self._passed == set(self._failures):
            session.exitstatus = pytest.ExitCode.OK

    @property
    def _which(self) -> str:
        which: str = self._config.getoption("second_run")
        return which

    def _is_run_again(self, nodeid: str) -> bool:
        """Return whether the option asks for a second run of a test that has failed."""
        is_fault_of_start = all(map(is_not_started, self._failures[nodeid]))
        may_race = self._which == ANY and nodeid not in self._known
        return has_real_processes(nodeid) and (may_race or is_fault_of_start)

    def _races(self) -> list[Race]:
        """Return the tests that needed their second run although all programs had started."""
        return [
            Race(datetime.now(timezone.utc).date(), nodeid, _said(self._failures[nodeid][0]))
            for nodeid in sorted(self._passed)
            if not all(map(is_not_started, self._failures[nodeid]))
        ]

    def _passes(self, nodeids: Iterable[str]) -> bool:
        """Run tests in a process of their own; print what it has printed if one fails again."""
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *nodeids]
        done = subprocess.run(command, cwd=self._config.rootpath, capture_output=True, text=True, check=False)
        if done.returncode:
            self._reporter.section("the second run", "!")
            self._reporter.write_line(done.stdout + done.stderr)
        return not done.returncode

    def _move_reports(self) -> None:
        """Count what passed at the second run under its own name, no longer as failed."""
        stats = self._reporter.stats
        for kind in ("failed", "error"):
            reports = stats.pop(kind, [])
            for each in reports:
                stats.setdefault(NEEDED if each.nodeid in self._passed else kind, []).append(each)

    @property
    def _reporter(self) -> pytest.TerminalReporter:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        assert isinstance(reporter, pytest.TerminalReporter)
        return reporter

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the first failure of each test that needed its second run."""
        for nodeid in sorted(self._passed):
            terminalreporter.section(f"FAILED, then {NEEDED}: {nodeid}", "!")
            for report in self._failures[nodeid]:
                terminalreporter.write_line(f"(in {report.when})")
                terminalreporter.write_line(report.longreprtext)
                for title, content in report.sections:
                    terminalreporter.section(title, "-")
                    terminalreporter.write_line(content)
        races = self._races()
        if races:
            terminalreporter.section(f"add to {FILE}, which {REPORT} has too", "!")
            for race in races:
                terminalreporter.write_line(str(race))


def _said(report: pytest.TestReport) -> str:
    """Return the first line of an error."""
    lines = [line[2:].strip() for line in report.longreprtext.splitlines() if line.startswith("E ")]
    return (lines or report.longreprtext.strip().splitlines() or ["nothing"])[0][:200]
