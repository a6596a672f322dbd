"""External tasks: what they report is recorded, whatever comes at the same time."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from exporter.config import Task
from exporter.metrics import Metrics
from exporter.runner.external import External, Ping
from exporter.runner.recorder import Recorder
from exporter.runner.samples import TaskSeries, create_series
from exporter.scheduling.slot_counts import SlotCounts
from exporter.state import Claim, Run, StateError
from tests.unit.clocks import ManualClock
from tests.unit.stores import MemoryStore

RID, OTHER = "11111111-2222-4333-8444-555555555555", "99999999-8888-4777-8666-555555555555"


class SlowStore(MemoryStore):
    """Writes one after the other; each takes some turns of the loop, `turns` says how many."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: Iterator[int] = itertools.repeat(1)
        self._writing = asyncio.Lock()

    @asynccontextmanager
    async def _write(self) -> AsyncIterator[None]:
        async with self._writing:
            for _ in range(next(self.turns)):
                await asyncio.sleep(0)
            yield

    async def claim(self, claim: Claim) -> bool:
        async with self._write():
            if claim.run_id in {end.run_id for end in self.ends}:
                raise StateError("UNIQUE constraint failed: runs.run_id")
            return await super().claim(claim)

    async def finish_durably(self, end: Run) -> bool:
        async with self._write():
            return await super().finish_durably(end)


class Bench:
    """The runs of one external task, `t`, over a store in memory."""

    def __init__(self, **more: Any) -> None:
        self.clock, self.store, self.registry = ManualClock(), SlowStore(), CollectorRegistry()
        metrics, ids = Metrics(self.registry), itertools.count(1)
        counts = SlotCounts(metrics)
        counts.create({"t": False})
        create_series(metrics, ["t"])
        self.record = Recorder(self.store, metrics, self.clock, lambda s: s.replace("hunter2", "*"))
        self.record.known = frozenset("t")
        self.external = External(
            self.store, self.clock, lambda: f"id{next(ids)}", self.record, counts
        )
        spec = {"external": True, "schedule": "every 1h", **more}
        self.external.apply({"t": Task.model_validate(spec)})

    async def ping(self, kind: Any, rid: str | None = None, **more: Any) -> str:
        return await self.external.ping("t", Ping(kind, rid=rid, **more))

    @property
    def open(self) -> list[str]:
        return [run.run_id for run in self.external.open_runs]

    @property
    def ends(self) -> list[tuple[str, str | None]]:
        return [(end.run_id, end.outcome) for end in self.store.ends]

    def value(self, name: str, **labels: str) -> float:
        found = self.registry.get_sample_value(name, {"task": "t", **labels})
        assert found is not None
        return found


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_start_and_end_are_one_run_and_an_end_alone_is_one(bench: Bench) -> None:
    """A program may care to report no more than its end."""
    started = await bench.ping("start")
    bench.clock.advance(30)
    assert await bench.ping("success", items=12) == started
    await bench.ping("fail", message="no\nbroker")
    ends = [(e.outcome, e.items, e.error, e.ended_at - e.started_at) for e in bench.store.ends]
    assert ends == [("success", 12.0, None, 30.0), ("error", None, "no broker", 0.0)]
    assert bench.value("quant_task_runs_total") == 2


async def test_ends_at_the_same_time_are_all_recorded(bench: Bench) -> None:
    """The first ends the open run; each of the others is a run of its own."""
    started = await bench.ping("start")
    answered = await asyncio.gather(*(bench.ping("fail") for _ in range(100)))
    assert len(set(answered)) == 100
    assert answered[0] == started
    assert Counter(bench.ends) == Counter((run_id, "error") for run_id in answered)
    assert bench.value("quant_task_failures_total", reason="error") == 100
    assert bench.open == []


async def test_a_run_that_a_restart_took_up_ends_once_too(bench: Bench) -> None:
    """Two ends come before either is on disk."""
    now = bench.clock.now()
    bench.external.take_up(Run("old", "t", None, "manual", now - 60))
    assert set(await asyncio.gather(bench.ping("success"), bench.ping("fail"))) == {"old", "id1"}
    assert sorted(bench.ends) == [("id1", "error"), ("old", "success")]
    assert bench.store.ends[0].started_at == now - 60


async def test_a_start_within_a_run_is_an_overlap_and_no_failure(bench: Bench) -> None:
    """Without an id nobody can tell a crash from a second run."""
    first = await bench.ping("start")
    assert await bench.ping("start") == first
    assert bench.value("quant_task_skipped_total", reason="overlap") == 1
    assert bench.ends == []
    await bench.ping("success")
    await bench.ping("fail")
    assert bench.ends == [(first, "success"), ("id2", "error")]


@pytest.mark.parametrize("rid", [None, RID])
async def test_a_start_that_finds_one_on_its_way_waits_until_that_is_durable(
    bench: Bench, rid: str | None
) -> None:
    """It was accepted at once, and lost with the first when the exporter was killed."""
    bench.store.turns = itertools.repeat(5)
    first = asyncio.ensure_future(bench.ping("start", rid))
    second = asyncio.ensure_future(bench.ping("start", rid))
    while not second.done():
        await asyncio.sleep(0)
    assert [claim.run_id for claim in bench.store.claims] == [await first] == [await second]

    bench = Bench()
    bench.store.durable = False
    answers = await asyncio.gather(
        *(bench.ping("start", rid) for _ in range(2)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [StateError] * 2
    assert bench.open == []


async def test_overlapping_runs_with_ids_are_told_apart(bench: Bench) -> None:
    """They end in any order, and neither is counted as an overlap."""
    first, second = await bench.ping("start", RID), await bench.ping("start", OTHER)
    assert (first, second) == (f"{RID}.t", f"{OTHER}.t")
    bench.clock.advance(10)
    await bench.ping("fail", RID)
    await bench.ping("success")  # of a third, which has no id
    await bench.ping("success", OTHER)
    assert bench.ends == [(first, "error"), ("id1", "success"), (second, "success")]
    assert bench.value("quant_task_skipped_total", reason="overlap") == 0


async def test_what_is_reported_again_with_an_id_counts_once(bench: Bench) -> None:
    """A program that got no answer asks again: start and end, before and after the end."""
    await bench.ping("start", RID)
    await bench.ping("start", RID)
    await bench.ping("fail", RID)
    await bench.ping("fail", RID)
    assert await bench.ping("start", RID) == f"{RID}.t"
    assert bench.ends == [(f"{RID}.t", "error")]
    assert bench.value("quant_task_failures_total", reason="error") == 1
    assert bench.open == []


async def test_what_is_not_durable_is_not_accepted(bench: Bench) -> None:
    """Nothing of it is counted, and the run stays open for the program's next try."""
    bench.store.durable = False
    for kind in ("start", "success", "fail"):
        with pytest.raises(StateError):
            await bench.ping(kind)
    assert (bench.open, bench.ends, bench.value("quant_task_runs_total")) == ([], [], 0)
    bench.store.durable = True
    started = await bench.ping("start")
    bench.store.durable = False
    with pytest.raises(StateError):
        await bench.ping("fail")
    assert bench.open == [started]
    bench.store.durable = True
    await bench.ping("fail")
    assert bench.ends == [(started, "error")]


async def test_a_message_is_cut_after_it_is_masked(bench: Bench) -> None:
    """Otherwise its end would show half a secret."""
    await bench.ping("fail", message="x" * 496 + "hunter2" + "x" * 99)
    assert [end.error for end in bench.store.ends] == ["x" * 496 + "*xxx"]


async def test_silence_ends_a_run_as_a_timeout() -> None:
    """Each run by its own start; a start again within it counts from then on."""
    bench = Bench(max_runtime="50ms")
    await bench.ping("start")
    await bench.ping("start", RID)
    await bench.ping("start")
    while len(bench.ends) < 2:
        await asyncio.sleep(0.01)
    assert bench.ends == [(f"{RID}.t", "timeout"), ("id1", "timeout")]
    assert bench.store.ends[0].error == "reported nothing for 0.1s after its start"


async def test_a_run_that_was_silent_through_a_restart_times_out_by_its_start() -> None:
    """The time that the exporter was down counts."""
    bench = Bench(max_runtime="1h")
    bench.external.take_up(Run("old", "t", None, "manual", bench.clock.now() - 3600))
    await asyncio.sleep(0.01)
    assert bench.ends == [("old", "timeout")]


PINGS = st.tuples(
    st.sampled_from(["start", "success", "fail"]),
    st.sampled_from([None, None, RID, OTHER]),
    st.integers(0, 3),  # how many turns of the loop pass before the next one
    st.booleans(),  # whether the disk takes it
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PINGS, max_size=25), st.lists(st.integers(0, 5), min_size=1, max_size=9))
async def test_every_accepted_end_is_in_state_exactly_once(
    pings: list[tuple[Any, str | None, int, bool]], turns: list[int]
) -> None:
    """However pings, disk and refusals interleave."""
    bench = Bench()
    bench.store.turns = itertools.cycle(turns)
    tasks = []
    for kind, rid, pause, durable in pings:
        bench.store.durable = durable
        tasks.append((kind, rid, asyncio.ensure_future(bench.ping(kind, rid))))
        for _ in range(pause):
            await asyncio.sleep(0)
    bench.store.durable = True
    answers = await asyncio.gather(*(task for *_, task in tasks), return_exceptions=True)
    accepted = [
        (rid, answer)
        for (kind, rid, _), answer in zip(tasks, answers, strict=True)
        if kind != "start" and isinstance(answer, str)
    ]
    expected = [answer for rid, answer in accepted if rid is None]
    expected += {answer for rid, answer in accepted if rid is not None}
    assert Counter(end.run_id for end in bench.store.ends) == Counter(expected)
    assert bench.value("quant_task_runs_total") == len(expected)
    assert not set(bench.open) & {end.run_id for end in bench.store.ends}
    bench.external.close()


async def test_the_newest_failure_is_known_masked_short_and_after_a_restart(bench: Bench) -> None:
    """What the text of the alert says: why, and which run."""
    assert bench.record.failures() == {}
    await bench.ping("fail", message="login as hunter2\nrefused " + "x" * 400)
    await bench.ping("success")
    failure = bench.record.failures()["t"]
    assert (failure["reason"], len(failure["text"])) == ("error", 200)
    assert failure["text"].startswith("login as * refused xxx")
    assert failure["text"].endswith("…")
    assert failure["run_id"] == bench.store.ends[0].run_id
    again = Recorder(bench.store, Metrics(CollectorRegistry()), bench.clock, str)
    assert again.failures() == {"t": failure}
    await bench.ping("fail", message="<!channel> got <class 'X'>, @everyone me@host")
    assert bench.record.failures()["t"]["text"].startswith("<!channel> got <class")
    (series,) = [
        sample
        for sample in TaskSeries().read(
            ["t", "other"], {}, set(), left={}, memory={}, failures=bench.record.failures()
        )
        if isinstance(sample, tuple) and sample[0] == "quant_task_last_failure_info"
    ]
    text = "‹!channel› got ‹class 'X'›, @\u200beveryone me@host"  # in a chat it is no markup
    assert series[1] == ("t", "error", bench.store.ends[2].run_id, text)


async def test_a_report_that_comes_late_is_recorded_with_its_own_times(bench: Bench) -> None:
    """An end alone, and the end of a run whose start came in time."""
    now = bench.clock.now()
    await bench.ping("success", started=now - 900, ended=now - 300, output="done")
    await bench.ping("start", rid=RID)
    bench.clock.advance(60)
    await bench.ping("fail", rid=RID, started=now, ended=now + 10, message="no broker")
    first, second = bench.store.ends
    assert (first.started_at, first.ended_at, first.tail) == (now - 900, now - 300, "done")
    assert (second.started_at, second.ended_at) == (now, now + 10)
    durations = bench.registry.get_sample_value("quant_task_duration_seconds_sum", {"task": "t"})
    assert durations == pytest.approx(610.0)
    assert bench.store.tasks["t"].covered_until == now - 300


async def test_a_run_that_began_long_ago_times_out_by_its_own_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its start was reported late; a log line in between changes nothing."""
    bench = Bench(max_runtime="0.2s")
    await bench.ping("start", rid=RID, started=bench.clock.now() - 60)
    caplog.set_level("INFO")
    assert await bench.ping("log", rid=RID, output="half") == f"{RID}.t"
    await asyncio.sleep(0.02)
    assert bench.ends == [(f"{RID}.t", "timeout")]
    assert await bench.ping("log") == ""
    assert "reports: half" in caplog.text


async def test_runs_with_ids_that_overlap_are_said_and_none_is_skipped(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever did not mean them to overlap should know."""
    await bench.ping("start", rid=RID)
    assert "starts while" not in caplog.text
    await bench.ping("start", rid=OTHER)
    assert "t starts while 1 other run is open" in caplog.text
    assert bench.value("quant_task_skipped_total", reason="overlap") == 0


async def test_an_end_closes_the_run_of_its_own_rid_and_keeps_its_start() -> None:
    """Two runs overlap; how long each took is counted from its own start."""
    bench = Bench()
    rids = [f"{n}1111111-2222-4333-8444-555555555555" for n in (1, 2)]
    began = bench.clock.now()
    first, second = [await bench.ping("start", rid=rid) for rid in rids]
    bench.clock.advance(30)
    assert await bench.ping("success", rid=rids[0]) == first
    assert bench.open == [second]
    assert (bench.store.ends[-1].started_at, bench.store.ends[-1].ended_at) == (began, began + 30)


async def test_a_report_that_comes_late_says_nothing_of_how_the_task_is_now(bench: Bench) -> None:
    """A spool that is sent a day later neither ends an alert nor makes one."""
    now = bench.clock.now()
    await bench.ping("success", started=now - 400, ended=now - 300)
    await bench.ping("fail", started=now - 9000, ended=now - 8000, message="long ago")
    known = bench.store.tasks["t"]
    assert (known.consecutive_failures, known.last_success) == (0, now - 300)
    await bench.ping("fail", message="no broker")
    await bench.ping("fail", started=now - 200, ended=now - 100, message="before that")
    await bench.ping("success", started=now - 360, ended=now - 350)
    known = bench.store.tasks["t"]
    assert (known.consecutive_failures, known.last_failure) == (2, now)
    assert (known.last_success, known.covered_until) == (now - 300, now - 300)
    assert bench.record.failures()["t"]["text"] == "no broker"
    assert len(bench.ends) == 5


async def test_two_outcomes_of_one_run_are_said(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The first counts; a failure after it must not be lost without a word."""
    await bench.ping("success", RID)
    await bench.ping("success", RID)
    assert "has ended with" not in caplog.text
    await bench.ping("fail", RID)
    assert "t reports error of a run that has ended with success, which stays" in caplog.text
    assert bench.ends == [(f"{RID}.t", "success")]
