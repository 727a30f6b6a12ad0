"""A pytest plugin that fails the run if a test was skipped: `.ci/run` has every program that a test needs."""

from typing import Any


def pytest_sessionfinish(session: Any) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []  # None in the workers of pytest-xdist
    if skipped and session.exitstatus == 0:
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for report in terminalreporter.stats.get("skipped", []):
        terminalreporter.write_line(f"skipped, which fails here: {report.nodeid}: {report.longrepr}")
