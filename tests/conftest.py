"""Fixtures of the whole suite. The database is real PostgreSQL: embedded, or DATABASE_URL's."""

from __future__ import annotations

import os

import hypothesis
import pytest

# No deadline: a slow machine is not a fault. Nothing is stored: a failure prints what repeats it.
hypothesis.settings.register_profile("ct4", deadline=None, database=None, print_blob=True)
hypothesis.settings.load_profile("ct4")

_skipped_browser_tests: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and "browser" in report.keywords:
        _skipped_browser_tests.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """On a build machine (CI=true) a skipped browser test is a failure: nobody reads its skip line."""
    if _skipped_browser_tests and os.environ.get("CI") == "true" and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _skipped_browser_tests:
        terminalreporter.write_line(f"{len(_skipped_browser_tests)} browser tests were skipped: no Chromium was found.")
