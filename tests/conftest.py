"""For all tests: the same examples in every run, no limit of time on a busy machine, what belongs
together on one worker, no work twice, and what was measured told in the end."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Generator

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

# A run in the background (nohup, a shell's &) has them ignored, and so would all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Without bytecode on disk each worker, and each process of a test, compiles all that it imports.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collecting makes hundreds of thousands of objects and no garbage: the search for it would
    walk through them again and again, then and during the tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


class ByFile(LoadFileScheduling):
    """A file's tests share a worker and its fixtures; all of tests/deploy share one VPS, all of
    tests/containers one engine."""

    def _split_scope(self, nodeid: str) -> str:
        shared = ("tests/deploy/", "tests/containers/")
        folder = next((name for name in shared if nodeid.startswith(name)), None)
        return folder or super()._split_scope(nodeid)


_LONGEST_FIRST = ("deploy", "integration", "browser")
"""Markers, by how long a file of such tests takes; files without one are the fast tests."""


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    """How `-n` distributes the tests: in the order of the collection, which is below."""
    config.option.loadscopereorder = False
    return ByFile(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `-n`, what takes longest starts first, and fast tests fill the end, so that no worker
    waits for another. Otherwise tests run as they are found, the fast ones first."""
    if not hasattr(config, "workerinput"):
        return
    allowed: dict[str, float] = {}
    for item in items:
        own = item.get_closest_marker("timeout")
        seconds = float(own.args[0]) if own and own.args else float(config.getini("timeout"))
        file = item.nodeid.partition("::")[0]
        allowed[file] = max(allowed.get(file, 0.0), seconds)

    def place(item: pytest.Item) -> tuple[int, float]:
        kinds = [n for n, name in enumerate(_LONGEST_FIRST) if item.get_closest_marker(name)]
        kind = min(kinds, default=len(_LONGEST_FIRST))
        return kind, 0.0 if kind == 0 else -allowed[item.nodeid.partition("::")[0]]

    items.sort(key=place)


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
