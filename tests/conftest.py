"""For all tests: the same examples in every run, no limit of time on a busy machine, what belongs
together on one worker, and what was measured told in the end."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

DEPLOY = Path(__file__).parent / "deploy"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers (`-n 2 --dist loadgroup`) a file's tests share one, and its fixtures;
    all of tests/deploy share one VPS. What takes longest begins first."""
    for item in items:
        group = "deploy" if DEPLOY in item.path.parents else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests measured: they say it with `record_property("measured", text)`."""
    told = [
        str(value)
        for report in terminalreporter.getreports("passed")
        if report.when == "call"
        for key, value in report.user_properties
        if key == "measured"
    ]
    if told:
        terminalreporter.section("measured")
        for line in told:
            terminalreporter.write_line(line)
