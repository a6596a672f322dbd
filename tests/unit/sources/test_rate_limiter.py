"""The request budget: never above the limit in any sixty seconds, and no slower than it must."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.sources import SourceError
from exporter.sources.rate_limiter import Budget
from tests.unit.clocks import ManualClock
from tests.unit.tickdb_server import Bench


class Pace:
    """A budget on a clock that only its own waiting moves."""

    def __init__(self, per_minute: int) -> None:
        self.clock = ManualClock()
        self.waited = 0.0
        self.budget = Budget(per_minute, self.clock.monotonic, sleep=self.sleep, waited=self._count)
        self.sent: list[float] = []
        self.order: list[str] = []

    def _count(self, seconds: float) -> None:
        self.waited += seconds

    async def sleep(self, seconds: float) -> None:
        for _ in range(3):  # whoever was granted a place sends before time passes
            await asyncio.sleep(0)
        self.clock.advance(seconds)

    async def send(self, name: str = "", *, urgent: bool = True, turns: int = 1) -> None:
        async with self.budget.place(urgent=urgent):
            self.sent.append(self.clock.monotonic())
            self.order.append(name)
            for _ in range(turns):
                await asyncio.sleep(0)

    def most_in_a_minute(self) -> int:
        return max(sum(start <= at < start + 60 for at in self.sent) for start in self.sent)


@pytest.mark.parametrize("per_minute", [1, 2, 7, 30, 60, 600])
async def test_the_limit_holds_in_every_minute_and_is_used(per_minute: int) -> None:
    """Many callers at once; in the long run as many requests go as the limit allows."""
    pace = Pace(per_minute)
    count = per_minute * 3 + 1
    await asyncio.gather(*(pace.send() for _ in range(count)))
    assert pace.most_in_a_minute() <= per_minute
    assert pace.sent[-1] - pace.sent[0] == pytest.approx(180, abs=0.01)
    assert pace.waited > 0


@settings(max_examples=60, deadline=None)
@given(
    per_minute=st.integers(1, 40),
    arrivals=st.lists(st.floats(0, 40), min_size=1, max_size=60),
)
def test_the_limit_holds_however_callers_come(per_minute: int, arrivals: list[float]) -> None:
    """Bursts after idle times, answers that take their time: never one too many."""

    async def run() -> Pace:
        pace = Pace(per_minute)
        async with asyncio.TaskGroup() as group:
            for pause in arrivals:
                group.create_task(pace.send(turns=int(pause)))
                await asyncio.sleep(0)
                if pause > 35:
                    pace.clock.advance(pause)
        return pace

    pace = asyncio.run(run())
    assert len(pace.sent) == len(arrivals)
    assert pace.most_in_a_minute() <= per_minute


async def test_a_small_burst_goes_at_once() -> None:
    """Ten requests are 500 symbols: they do not wait, not even on the free plan."""
    pace = Pace(30)
    await asyncio.gather(*(pace.send() for _ in range(10)))
    assert pace.sent[-1] == pace.sent[0]
    assert pace.waited == 0


async def test_a_long_answer_keeps_its_place() -> None:
    """Its minute counts from its end: the server may have counted it as late as that."""
    pace = Pace(1)
    async with pace.budget.place(urgent=True):
        pace.clock.advance(50)
    await pace.send()
    assert pace.sent[0] == pytest.approx(1000 + 50 + 60)


async def test_fresh_bars_go_before_history_but_do_not_starve_it() -> None:
    """Of four grants three are urgent while both wait."""
    pace = Pace(3)
    history = [asyncio.create_task(pace.send("history", urgent=False)) for _ in range(8)]
    fresh = [asyncio.create_task(pace.send("fresh", urgent=True)) for _ in range(8)]
    await asyncio.gather(*history, *fresh)
    assert pace.order[:8] == ["fresh", "fresh", "fresh", "history"] * 2


async def test_a_caller_that_gives_up_costs_nothing() -> None:
    """Cancelled while waiting, its place goes to the next."""
    pace = Pace(2)
    tasks = [asyncio.create_task(pace.send(str(n))) for n in range(6)]
    for task in tasks[1:4]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [name for name in pace.order if name] == ["0", "4", "5"]
    assert pace.sent[-1] - pace.sent[0] < 61


async def test_a_caller_that_gives_up_when_granted_gives_its_place_back() -> None:
    """The moment between the grant and the caller's waking up loses no place."""
    pace = Pace(1)

    async def caller() -> None:
        async with pace.budget.place(urgent=True):
            raise AssertionError("never gets here")

    task = asyncio.create_task(caller())
    await asyncio.sleep(0)  # it waits
    await asyncio.sleep(0)  # it is granted, and has not woken up
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    await pace.send()
    assert pace.sent == [1000.0]


async def test_who_waits_is_told_when_the_source_stops() -> None:
    """A used-up quota does not leave callers standing in the queue."""
    pace = Pace(1)
    await pace.send()
    waiting = [asyncio.create_task(pace.send()) for _ in range(3)]
    await asyncio.sleep(0)
    pace.budget.refuse_waiting(lambda: SourceError("quota", "used up"))
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(r) for r in results] == [SourceError] * 3


async def test_waiting_for_the_budget_is_counted() -> None:
    """In quant_fetch_wait_seconds_total of the source, before sending rather than by running in."""
    bench = Bench(requests_per_minute=30)
    async with bench.client() as source:
        await source.latest([f"S{n}.US" for n in range(550)], "1m")
    assert len(bench.server.requests) == 11
    assert bench.value("quant_fetch_wait_seconds_total", source="main") == pytest.approx(2)
    assert bench.failures() == {}
