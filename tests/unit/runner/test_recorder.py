"""The one place where an outcome is recorded: metrics, log and state say the same."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from exporter.metrics import Metrics
from exporter.runner.recorder import Recorder
from exporter.runner.results import RunningRun
from exporter.state import Run, StateError
from exporter.tasks.outcome import Outcome
from tests.unit.clocks import ManualClock
from tests.unit.stores import MemoryStore


class Desk:
    """A recorder, and what it wrote where."""

    def __init__(self) -> None:
        self.clock, self.store, self.registry = ManualClock(), MemoryStore(), CollectorRegistry()
        self.record = Recorder(
            self.store, Metrics(self.registry), self.clock, lambda text: text.replace("s3cr3t", "*")
        )
        self.record.known = frozenset(("t",))

    async def ended(self, outcome: Outcome, *, took: float = 2.5, task: str = "t") -> Run:
        running = RunningRun(
            f"r{len(self.store.ends)}", task, 100.0, "schedule", self.clock.now(),
            self.clock.monotonic(), attempt=2,
        )  # fmt: skip
        self.clock.advance(took)
        return await self.record(running, outcome, attempts=2)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"task": "t", **labels})


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_run_is_recorded_in_state_journal_and_metrics_alike(desk: Desk) -> None:
    """With its times, attempts and items."""
    run = await desk.ended(Outcome("success", items=3.0))
    assert desk.store.ends == [run]
    assert (run.outcome, run.items, run.attempts, run.error, run.tail) == (
        "success", 3.0, 2, None, None,
    )  # fmt: skip
    assert run.ended_at == desk.clock.now() == (run.started_at or 0) + 2.5
    ((kind, at, fields),) = desk.store.rows
    assert (kind, at) == ("run", run.ended_at)
    assert fields == {
        "run_id": "r0", "task": "t", "slot": 100.0, "trigger": "schedule", "outcome": "success",
        "items": 3.0, "duration_seconds": 2.5, "error": None,
        "message": None,
    }  # fmt: skip
    assert desk.value("quant_task_runs_total") == 1
    assert desk.value("quant_task_duration_seconds_sum") == 2.5


@pytest.mark.parametrize("kind", ["error", "timeout", "no_data", "stale_data"])
async def test_a_failure_is_counted_by_its_reason(desk: Desk, kind: Any) -> None:
    """And how long it took is known."""
    await desk.ended(Outcome(kind, "why"))
    assert desk.value("quant_task_failures_total", reason=kind) == 1
    assert desk.value("quant_task_duration_seconds_count") == 1


async def test_how_long_a_crashed_run_took_is_not_guessed(desk: Desk) -> None:
    """It ended when the exporter did, which nobody noted: it stays out of the histogram."""
    await desk.ended(Outcome("crashed", "the exporter ended"), took=7200.0)
    assert desk.value("quant_task_runs_total") == 1
    assert desk.value("quant_task_failures_total", reason="crashed") == 1
    assert not desk.value("quant_task_duration_seconds_count")
    assert not desk.value("quant_task_duration_seconds_sum")


async def test_a_task_that_is_no_longer_configured_has_no_series(desk: Desk) -> None:
    """Its run is recorded all the same."""
    await desk.ended(Outcome("success"), task="gone")
    assert [end.task for end in desk.store.ends] == ["gone"]
    assert not [
        m for m in desk.registry.collect() for s in m.samples if "gone" in s.labels.values()
    ]


async def test_what_is_recorded_is_masked(desk: Desk) -> None:
    """Error and output, before they are cut."""
    run = await desk.ended(Outcome("error", "key s3cr3t", tail="sent s3cr3t"))
    assert (run.error, run.tail) == ("key *", "sent *")


async def test_a_state_that_cannot_be_written_is_said_and_the_run_remembered(
    desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is raised: whoever ran the task goes on."""

    async def refuse(end: Run) -> None:
        raise StateError("the disk is full")

    monkeypatch.setattr(desk.store, "finish", refuse)
    run = await desk.ended(Outcome("success"))
    assert "the outcome of r0 is not on disk: the disk is full" in caplog.text
    assert desk.record.newest["r0"] == run


async def test_the_newest_runs_alone_are_remembered(desk: Desk) -> None:
    """Memory does not grow with the number of runs."""
    for _ in range(105):
        await desk.ended(Outcome("success"))
    assert list(desk.record.newest) == [f"r{n}" for n in range(5, 105)]


async def test_the_log_line_says_how_it_ended(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """A success is no error; the fields are there for whoever filters."""
    caplog.set_level("INFO")
    await desk.ended(Outcome("success", items=4.0, tail="hello"))
    await desk.ended(Outcome("error", "no broker"))
    good, bad = caplog.records
    assert (good.levelno, good.getMessage()) == (
        logging.INFO, "ended with success after 2.5 s\nhello",
    )  # fmt: skip
    assert (bad.levelno, bad.getMessage()) == (
        logging.ERROR, "ended with error after 2.5 s: no broker",
    )  # fmt: skip
    fields = ("event", "task", "run_id", "outcome", "duration_seconds", "attempts", "slot")
    assert [vars(good)[name] for name in fields] == [
        "run_ended", "t", "r0", "success", 2.5, 2, "1970-01-01T00:01:40Z",
    ]  # fmt: skip
    assert (vars(good)["items"], "error_message" in vars(good)) == (4.0, False)
    assert (vars(bad)["error_message"], "items" in vars(bad)) == ("no broker", False)
