"""What a plain function logs, from the worker process to the daemon's log."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from exporter.worker.records import RecordSender


class Child:
    """A worker's logger whose records are kept as they are sent."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.sender = RecordSender(self.said.append)
        self.log = logging.Logger("task.t")
        self.log.addHandler(self.sender)

    def count(self, level: int) -> int:
        return sum(1 for said in self.said if said["t"] == "log" and said["level"] == level)

    def lost(self) -> int:
        self.sender.tell_lost()
        return sum(said["count"] for said in self.said if said["t"] == "lost")


@pytest.fixture
def child() -> Child:
    return Child()


def test_a_flood_of_other_lines_costs_no_error(child: Child) -> None:
    """Errors have room of their own."""
    for n in range(20_000):
        child.log.info("line %d", n)
    child.log.error("ORDER REJECTED")
    assert child.said[-1]["message"] == "ORDER REJECTED"
    assert 2000 <= child.count(logging.INFO) < 5000
    assert child.lost() == 20_000 - child.count(logging.INFO)


def test_a_flood_of_errors_is_bounded_and_counted(child: Child) -> None:
    """They leave the other lines their room too."""
    for n in range(20_000):
        child.log.error("line %d", n)
    child.log.info("still here")
    assert child.said[-1]["message"] == "still here"
    assert 2000 <= child.count(logging.ERROR) < 5000
    assert child.lost() == 20_000 - child.count(logging.ERROR)


def test_what_was_lost_is_told_before_the_end(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed tells nothing at its end."""
    monkeypatch.setattr("exporter.worker.records._TELL_LOST_SECONDS", 0.0)
    for n in range(5_000):
        child.log.info("line %d", n)
    assert child.said[-1]["t"] == "lost"
