"""`pytest --second-run`: a test of real processes that has failed is run once more, after all others, in a new process.

This is what CPython's `regrtest --rerun` does. In a new process, which runs only the failed tests of one file, a test
has new servers and new fixtures of every scope, an idle machine, and its time limit. The first failure is printed at
the end. A unit test is never run again: it depends on no other process, so a failure is a fault.

A test that needed its second run is a fault to mend, in the test or in the package; see CONTRIBUTING.md.
"""

import subprocess
import sys
from collections.abc import Iterable

import pytest

from tests.time_limits import has_real_processes

FILES_MAX = 5
"""If tests of more files have failed, it is not by chance, and a second run would only take long."""

NEEDED = "passed at the second run"
"""The outcome, as the last line of pytest counts it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--second-run", action="store_true", help="run failed tests of real processes once more, each in a new process"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin to note failures, but not in the workers of pytest-xdist: these send their reports to this process."""
    if config.getoption("second_run") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SecondRun(config))


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

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure."""
        if report.failed:
            self._failures.setdefault(report.nodeid, []).append(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Run what has failed once more, and let the run pass if everything passes then."""
        files = by_file(filter(has_real_processes, self._failures))
        if exitstatus != pytest.ExitCode.TESTS_FAILED or len(files) > FILES_MAX:
            return
        self._passed = {nodeid for nodeids in files if self._passes(nodeids) for nodeid in nodeids}
        self._move_reports()
        if self._passed == set(self._failures):
            session.exitstatus = pytest.ExitCode.OK

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
