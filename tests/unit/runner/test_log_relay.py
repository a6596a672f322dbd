"""What a plain function logs, from the worker process to the daemon's log."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from exporter.config import Logs
from exporter.logs.files import files_of
from exporter.logs.setup import Logging
from exporter.metrics import Metrics
from exporter.runner.worker.log_relay import RecordSender, _Bucket, replay
from tests.unit.clocks import ManualClock


class Child:
    """A worker's logger whose records are kept as they are sent."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.sender = RecordSender(lambda text: self.said.append(json.loads(text)))
        self.log = logging.Logger("task.t")
        self.log.addHandler(self.sender)

    def count(self, level: int) -> int:
        return sum(1 for said in self.said if said["t"] == "log" and said["level"] == level)

    def lost(self) -> int:
        self.sender.report_dropped()
        return sum(said["count"] for said in self.said if said["t"] == "lost")


@pytest.fixture
def child() -> Child:
    return Child()


class Daemon:
    """Its log, into which a worker's records go."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        config = Logs(directory=folder)
        metrics = Metrics(CollectorRegistry())
        self.logging = Logging(config, "UTC", ManualClock(), metrics, terminal_fd=None)

    def line(self, child: Child) -> dict[str, Any]:
        """The one line of what the child said."""
        for said in child.said:
            replay(said)
        assert self.logging.flush()
        (entry,) = [
            json.loads(line)
            for file in files_of(self._folder, "exporter")
            for line in file.path.read_bytes().splitlines()
        ]
        assert isinstance(entry, dict)
        return entry


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    root = logging.getLogger()
    level = root.level
    daemon = Daemon(tmp_path)
    daemon.logging.start()
    yield daemon
    daemon.logging.stop()
    root.setLevel(level)


@pytest.fixture
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a busy machine takes: no room grows, no report is due."""
    monkeypatch.setattr("exporter.runner.worker.log_relay._REPORT_DROPPED_SECONDS", math.inf)
    monkeypatch.setattr("exporter.runner.worker.log_relay._RECORDS_PER_SECOND", 0.0)


@pytest.mark.usefixtures("no_time_passes")
def test_a_flood_of_other_lines_costs_no_error(child: Child) -> None:
    """Errors have room of their own."""
    for n in range(5_000):
        child.log.info("line %d", n)
    child.log.error("ORDER REJECTED")
    assert child.said[-1]["fields"]["message"] == "ORDER REJECTED"
    assert child.count(logging.INFO) == 2000
    assert child.lost() == 3000


@pytest.mark.usefixtures("no_time_passes")
def test_a_flood_of_errors_is_bounded_and_counted(child: Child) -> None:
    """They leave the other lines their room too."""
    for n in range(5_000):
        child.log.error("line %d", n)
    child.log.info("still here")
    assert child.said[-1]["fields"]["message"] == "still here"
    assert child.count(logging.ERROR) == 2000
    assert child.lost() == 3000


def test_room_for_lines_grows_with_the_time() -> None:
    """Up to what is allowed at once, however long nothing was logged."""
    bucket, now = _Bucket(), time.monotonic() + 1e6
    assert sum(bucket.allows(now) for _ in range(3000)) == 2000
    assert sum(bucket.allows(now + 1) for _ in range(3000)) == 200
    assert not bucket.allows(now + 1.001)
    assert bucket.allows(now + 1.01)


def test_what_was_lost_is_told_before_the_end(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed tells nothing at its end."""
    monkeypatch.setattr("exporter.runner.worker.log_relay._REPORT_DROPPED_SECONDS", 0.0)
    monkeypatch.setattr("exporter.runner.worker.log_relay._RECORDS_PER_SECOND", 0.0)
    for n in range(5_000):
        child.log.info("line %d", n)
    assert child.said[-1]["t"] == "lost"


SECRET = "hunter2hunter2"


@pytest.mark.parametrize("before", [7_990, 7_999, 15_990, 15_999])
def test_no_half_secret_is_left_where_a_text_is_cut(
    child: Child, daemon: Daemon, before: int
) -> None:
    """Neither where the worker cuts nor where the line does; the line says how much is missing."""
    daemon.logging.mask.add(SECRET)
    text = "x" * before + SECRET + "x" * 20_000
    child.log.info("%s", text, extra={"note": text})
    entry = daemon.line(child)
    for said in (entry["message"], entry["note"]):
        assert said.endswith(f"… ({len(text) - 8000} characters more)")
        assert said.startswith("x" * 7_990)
        assert "hun" not in said


def test_a_line_of_too_many_fields_loses_them(child: Child, daemon: Daemon) -> None:
    """The message and the error stay, and the daemon can read it."""
    more = {f"n{n}": "\N{ROCKET}" * 9_000 for n in range(50)}
    child.log.error("ORDER REJECTED", extra={"event": "rejected", **more})
    assert len(json.dumps(child.said[0])) < 1 << 20
    entry = daemon.line(child)
    assert (entry["message"], entry["event"], entry["cut"]) == ("ORDER REJECTED", "rejected", True)


def test_an_exception_has_the_fields_of_a_coroutines(child: Child, daemon: Daemon) -> None:
    """Type, message and stack apart, so that a digest groups them alike."""
    daemon.logging.mask.add(SECRET)
    try:
        raise ConnectionError(f"no broker for {SECRET}")
    except ConnectionError:
        child.log.exception("order failed")
    entry = daemon.line(child)
    assert entry["message"] == "order failed"
    assert entry["error_type"] == "ConnectionError"
    assert entry["error_message"] == "no broker for ***"
    assert entry["stack"].startswith("Traceback (most recent call last)")
    assert entry["stack"].endswith("ConnectionError: no broker for ***")


def test_what_cannot_be_told_does_not_end_the_run(child: Child) -> None:
    """It is counted."""
    record = child.log.makeRecord("task.t", 20, "f", 1, "text", (), None)
    record.created = object()  # type: ignore[assignment]
    child.log.handle(record)
    assert child.lost() == 1


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)
DEEP: list[Any] = []
for _ in range(300):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"k": [1, None, {"a": 1.5}]}, {"k": [1, None, {"a": 1.5}]}),
        ((True, "x"), [True, "x"]),
        ({1: Path("/a")}, {"1": "/a"}),
        (2**70, str(2**70)),
        (10**5000, "(int without a text)"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        ({("a", 1): 2}, "{('a', 1): 2}"),
        (CIRCLE, "[[...]]"),
        (DEEP, str(DEEP)),
        (Path("/a"), "/a"),
    ],
    ids=range(11),
)
def test_extra_fields_stay_what_they_are(
    child: Child, daemon: Daemon, value: object, told: object
) -> None:
    """Where JSON has it; all else is text. A field without a value is not there."""
    child.log.info("text", extra={"n": value, "nothing": None, "after": {"a": [1]}})
    entry = daemon.line(child)
    assert entry["n"] == told
    assert "nothing" not in entry
    assert entry["after"] == {"a": [1]}


def test_a_long_list_is_cut(child: Child, daemon: Daemon) -> None:
    """As text, with what is missing."""
    value = list(range(100_000))
    child.log.info("text", extra={"n": value})
    assert daemon.line(child)["n"].endswith(f"… ({len(str(value)) - 8000} characters more)")
