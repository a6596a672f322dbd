"""From a failing task to a phone, over the real exporter, Prometheus and Alertmanager.

Sets of servers stand side by side and all stories happen at once, on both generations of the
servers; each test waits for its own. What was measured is printed, and replay is held against what
Prometheus says did fire.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import pytest_asyncio

from exporter.alerts.replay.engine import Fired, really, replay
from exporter.alerts.replay.rules import read_rules, with_limits
from exporter.alerts.replay.what_if import LimitsAt, parse
from tests.generations import GENERATIONS, NEWER, OLDER, Generation
from tests.integration.alert_stories import channels, disturbances, people
from tests.integration.servers import FAILING, AlertStack, alert_stack

pytestmark = [
    pytest.mark.integration,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(400),
]
SLACK = 6.0
"""Seconds that two busy cores may add to what the intervals add up to."""
STACKS = ("people", "restarts", "outages", "channels")
PEOPLE = ("page_then_escalation", "ack_then_none_and_a_resolved_message",
          "ack_runs_out_and_it_is_back", "any_silence_stops_the_escalation",
          "tiers_go_their_own_ways", "flapping_multiplies_nothing")  # fmt: skip


@dataclass
class Town:
    """The stacks, what happens in them, and what was measured."""

    stacks: dict[str, AlertStack] = field(default_factory=dict)
    began: float = field(default_factory=time.time)
    happening: dict[str, asyncio.Task[Any]] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)

    def happens(self, name: str, story: Coroutine[Any, Any, Any]) -> None:
        """From now on."""
        self.happening[name] = asyncio.create_task(story, name=name)

    async def settled(self) -> None:
        """Everything has happened; what went wrong fails the tests of its own."""
        await asyncio.wait([self.happening["people"]])
        await asyncio.wait(self.happening.values())

    async def people(self, alert_stack: AlertStack) -> None:
        """First nothing, then everything at once."""
        await people.nothing_at_first(alert_stack)
        for name in PEOPLE:
            more = (self.measured,) if name == "page_then_escalation" else ()
            self.happens(name, getattr(people, name)(alert_stack, *more))
        for task in people.RACES:
            self.happens(
                task, people.race_of_acknowledging_and_clearing(alert_stack, task, self.measured)
            )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def towns(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Town]]:
    """By generation. Little is computed in them, so both live at the same time."""
    there = [one for one in (OLDER, NEWER) if not one.missing]
    async with contextlib.AsyncExitStack() as parts:
        found = await asyncio.gather(
            *(parts.enter_async_context(_living(one, tmp_path_factory)) for one in there)
        )
        yield {one.name: town for one, town in zip(there, found, strict=True)}


@pytest.fixture(scope="module", params=GENERATIONS)
def town(request: pytest.FixtureRequest, towns: dict[str, Town]) -> Town:
    return towns[request.param.name]


@contextlib.asynccontextmanager
async def _living(
    generation: Generation, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Town]:
    found = Town()
    async with contextlib.AsyncExitStack() as parts:
        for name, tasks in (
            ("people", people.TASKS),
            ("restarts", disturbances.TASKS),
            ("outages", disturbances.TASKS),
            ("channels", channels.TASKS),
        ):
            folder = tmp_path_factory.mktemp(name)
            found.stacks[name] = await parts.enter_async_context(
                alert_stack(folder, tasks, generation)
            )
        found.happens("people", found.people(found.stacks["people"]))
        found.happens("restarts", disturbances.restarts(found.stacks["restarts"]))
        found.happens("outages", disturbances.outages(found.stacks["outages"], found.measured))
        found.happens(
            "channels", channels.a_channel_that_refuses_gets_it_later(found.stacks["channels"])
        )
        try:
            yield found
        finally:
            for task in found.happening.values():
                task.cancel()
            await asyncio.gather(*found.happening.values(), return_exceptions=True)


async def test_a_first_start_is_no_alarm(town: Town) -> None:
    """The watchdog barks, nobody else does."""
    await town.happening["people"]


@pytest.mark.parametrize("story", PEOPLE)
async def test_people(town: Town, story: str) -> None:
    """Told, escalated, acknowledged, told that it is resolved: see the story's own words."""
    await town.happening["people"]
    await town.happening[story]


@pytest.mark.parametrize("task", people.RACES)
async def test_the_race_of_acknowledging_and_clearing(town: Town, task: str) -> None:
    """Whoever wins, the resolved message comes and comes once."""
    await town.happening["people"]
    await town.happening[task]


async def test_a_channel_refuses(town: Town) -> None:
    """It gets the message later; the others hear that it fails."""
    await town.happening["channels"]


async def test_restarts_are_silent(town: Town) -> None:
    """Of Alertmanager, Prometheus and the exporter, while something fires."""
    await town.happening["restarts"]


async def test_an_outage_of_the_exporter_is_one_page(town: Town) -> None:
    """Whether it is killed, hangs or shows nothing; what fired goes on."""
    await town.happening["outages"]


async def test_the_first_message_comes_within_the_intervals(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    """Measured from the fault to the first message."""
    await town.settled()
    sums = {
        "fault to page": people.INTERVALS,
        "exporter killed to page": disturbances.DOWN_INTERVALS,
    }
    with capsys.disabled():
        print()
        for name, took in town.measured.items():
            times = took if isinstance(took, list) else [took]
            limit = (
                f"; the intervals add up to {sum(sums[name].values())} s" if name in sums else ""
            )
            print(f"  {name}: {', '.join(f'{one:.1f} s' for one in sorted(times))}{limit}")
    for name, intervals in sums.items():
        assert town.measured[name] <= sum(intervals.values()) + SLACK


@pytest.mark.parametrize("name", STACKS)
async def test_every_message_is_what_the_service_takes(town: Town, name: str) -> None:
    """Slack, PagerDuty and mail, in every stack."""
    await town.settled()
    town.stacks[name].nothing_wrong_on_the_wire()


@pytest.mark.parametrize("name", STACKS)
async def test_replay_agrees_with_what_fired(town: Town, name: str) -> None:
    """On the same history, from before its first scrape on: the same alerts with the same labels, a
    few evaluations apart at the most, and those that a busy machine left out."""
    await town.settled()
    alert_stack = town.stacks[name]
    rules = read_rules(sorted((alert_stack.folder / "rules").glob("*.yml")))
    start, end = town.began - 30, time.time()
    would = await replay(
        alert_stack.prometheus, with_limits(rules, [LimitsAt(end)]), start, end, 1.0
    )
    did = await really(alert_stack.prometheus, [rule.name for rule in rules], start, end, 1.0)
    assert {one.name for one in did} >= {FAILING}

    def told(fired: list[Any]) -> list[tuple[str, list[tuple[str, str]]]]:
        return sorted((one.name, sorted(one.labels.items())) for one in fired)

    seconds = await every_second(alert_stack)
    would, did = joined(would, seconds), joined(did, seconds)
    assert told(would) == told(did)
    by_labels = [
        sorted(fired, key=lambda one: (one.name, sorted(one.labels.items()), one.start))
        for fired in (would, did)
    ]
    for one, other in zip(*by_labels, strict=True):
        for moment, same in ((one.start, other.start), (one.end, other.end)):
            assert abs(moment - same) <= 4 + left_out(seconds, moment), (one, other)


async def every_second(alert_stack: AlertStack) -> list[list[float]]:
    """When Prometheus evaluated its rules, and when it scraped: each about once a second."""
    found = []
    for series in ('ALERTS{alertname="QuantWatchdog"}', 'up{job="quant-exporter"}'):
        url = f"{alert_stack.url('prometheus')}/api/v1/query"
        async with alert_stack.client.get(url, params={"query": f"{series}[1h]"}) as answer:
            result = (await answer.json())["data"]["result"]
        found.append(sorted({float(at) for one in result for at, _ in one["values"]}))
        assert len(found[-1]) > 30, series
    return found


def joined(fired: list[Fired], seconds: list[list[float]]) -> list[Fired]:
    """Without gaps in an alert that are no longer than what was left out there."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], list[Fired]] = {}
    for one in sorted(fired, key=lambda one: one.start):
        before = found.setdefault((one.name, frozenset(one.labels.items())), [])
        if before and one.start - before[-1].end <= left_out(seconds, before[-1].end):
            before[-1] = replace(before[-1], end=one.end)
        else:
            before.append(one)
    return [one for several in found.values() for one in several]


def left_out(seconds: list[list[float]], moment: float) -> float:
    """How many seconds around that moment had no evaluation, or no scrape: replay knows what was
    true in them, Prometheus did not look."""
    return sum(
        max(0.0, later - earlier - 1)
        for moments in seconds
        for earlier, later in itertools.pairwise(moments)
        if moment - 15 < later and earlier < moment + 15
    )


async def test_replay_with_another_limit(town: Town) -> None:
    """One that was never reached: nothing of that task, everything of the others."""
    await town.settled()
    alert_stack = town.stacks["people"]
    rules = read_rules(sorted((alert_stack.folder / "rules").glob("*.yml")))
    changed = with_limits(rules, [parse("tasks.escalates.alert_after=5"), LimitsAt(time.time())])
    fired = await replay(alert_stack.prometheus, changed, town.began, time.time(), 1.0)
    tasks = {one.labels["task"] for one in fired if one.name == FAILING}
    assert tasks == {*people.TASKS} - {"escalates", "announced"}
