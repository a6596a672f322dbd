"""Limits that act: once, claimed before it is done, undone by hand; and never by one odd value."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from exporter.backtests.published import BacktestResults
from exporter.config import Channel, Config, LimitSettings, OwnMetric, Strategy, Task
from exporter.custom_metrics.custom_metrics import CustomMetrics
from exporter.custom_metrics.textfiles import TextfileFolder
from exporter.limits.action_record import HELD_UNTIL, KIND
from exporter.limits.actions import Actions
from exporter.limits.breach import Bounds, Watch
from exporter.limits.limits_service import LimitedParts, LimitService
from exporter.limits.readings import Reading
from exporter.messages.outbox import MESSAGES, Outbox
from exporter.metrics import Metrics
from exporter.runner.results import BusyError, RunningRun
from exporter.state import Claim, Run, State, StateError
from exporter.strategies.equity_point import EquityPoint
from exporter.strategies.tracker import Strategies
from tests.unit.clocks import ManualClock
from tests.unit.tables import calendar

TASKS = {
    name: Task(command=("true",), schedule="every 1h")
    for name in ("rebalance", "signals", "flatten")
}


class Starter:
    """A runner that notes what it starts, and says how it went."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.running: dict[str, RunningRun] = {}
        self.started: list[str] = []
        self.ended: dict[str, Run] = {}
        self.busy = False

    def recall(self, run_id: str) -> Run | None:
        return self.ended.get(run_id)

    async def start_manual(self, task: str, *, run_id: str | None = None) -> str:
        if self.busy:
            raise BusyError("it is running already")
        assert run_id
        claim = Claim(run_id, task, None, "manual", self.desk.clock.now())
        assert await self.desk.state.claim(claim)
        self.started.append(task)
        return run_id

    def end(self, outcome: Any) -> None:
        """The newest run ended so."""
        (run,) = self.desk.state.open_runs()
        self.ended[run.run_id] = Run(
            run.run_id, run.task, None, "manual", run.claimed_at, outcome=outcome,
            error=None if outcome == "success" else "the broker refused",
        )  # fmt: skip


class Desk:
    """Limits on a real state file; restarts of them, in order or not."""

    def __init__(self, folder: Path, limits: dict[str, LimitSettings], **more: Any) -> None:
        self.folder, self.clock = folder, ManualClock()
        self.config = Config(
            timezone="UTC", tasks=TASKS, limits=limits,
            metrics={"positions": OwnMetric(labels=("strategy",))},
            strategies={"m": Strategy()}, messages={"chat": Channel(url_env="CHAT")}, **more,
        )  # fmt: skip
        self.paused: dict[str, float] = {}
        self.open()

    def open(self) -> None:
        self.state = State.open(self.folder / "state.db", self.clock)
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        self.custom = CustomMetrics(self.state, metrics, self.clock)
        self.strategies = Strategies(self.state, self.clock, metrics, calendar)
        self.outbox = Outbox(self.state, metrics, self.clock)
        self.starter = Starter(self)
        self.actions = Actions(self.state, self.clock, self.outbox, self.starter, self.paused.get)
        self.service = LimitService(
            self.state, metrics, self.clock,
            LimitedParts(
                self.custom, TextfileFolder(self.custom, metrics, self.clock), self.strategies,
                calendar, BacktestResults(self.state, metrics, self.clock),
            ),
            self.actions,
        )  # fmt: skip
        self.outbox.apply(self.config)
        self.strategies.apply(self.config)
        self.custom.apply(self.config)
        self.service.apply(self.config)

    async def restart(self) -> None:
        await self.custom.flush()
        await self.state.close()
        self.open()

    async def set(self, value: float, *, seconds: float = 31.0) -> None:
        """A value, some time, and a look."""
        self.custom.set("positions", value, {"strategy": "m"})
        await self.wait(seconds)

    async def wait(self, seconds: float = 31.0) -> None:
        await self.service.look()
        self.clock.advance(seconds)
        await self.service.look()

    def is_paused(self, task: str) -> bool:
        known = self.state.tasks.get(task)
        return bool(known and known.paused_until and known.paused_until > self.clock.now())

    def messages(self) -> list[str]:
        return [row["message"]["title"] for row in self.state.kept(MESSAGES).values()]

    def value(self, name: str, limit: str = "positions", strategy: str = "m") -> float | None:
        return self.registry.get_sample_value(name, {"limit": limit, "strategy": strategy})


def limit(**keys: Any) -> LimitSettings:
    action = keys.pop("action", {"pause": ["rebalance", "signals"], "run": "flatten"})
    return LimitSettings.model_validate({"max": {"critical": 20}, "on_critical": action, **keys})


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path, {"positions": limit()})
    yield made
    made.state._on_disk.writer.close()


async def test_a_limit_acts_once_when_two_values_and_a_minute_say_so(desk: Desk) -> None:
    """It pauses, runs, tells, and is counted; more bad values change nothing."""
    await desk.set(25)
    await desk.wait(120)
    assert not desk.is_paused("rebalance"), "one value alone flattens nothing, however long"
    await desk.set(26)
    assert desk.is_paused("rebalance")
    assert desk.is_paused("signals")
    assert not desk.is_paused("flatten")
    assert desk.starter.started == ["flatten"]
    assert desk.messages() == ["Limit positions (m) acted"]
    assert desk.value("quant_limit_action_timestamp_seconds") is not None
    assert desk.value("quant_limit_action_failed") == 0
    desk.starter.end("success")
    for value in (30, 1, 40, 50):
        await desk.set(value, seconds=100)
    assert desk.starter.started == ["flatten"]
    assert desk.messages() == ["Limit positions (m) acted", "Action of limit positions (m) is done"]
    rows = await desk.state.history.journal_rows(0.0, KIND)
    assert [row.fields["what"] for row in reversed(rows)] == ["acted", "done"]
    assert rows[-1].fields["why"] == "positions of m is 26, at most 20 is allowed"


@pytest.mark.parametrize(
    "values", [[25, 5, 25], [25, 25.0, 3], [math.nan, 25], [25, math.nan], [20, 20, 20], [1, 2]]
)
async def test_one_odd_value_does_nothing(desk: Desk, values: list[float]) -> None:
    """One between good ones, one and a NaN, and a value that is just what is allowed."""
    for value in values:
        await desk.set(value, seconds=20)
    await desk.wait(600)
    assert desk.actions.records == {}
    assert not desk.is_paused("rebalance")


async def test_nan_between_two_bad_values_does_not_excuse_them(desk: Desk) -> None:
    """It neither confirms nor contradicts."""
    for value in (25, math.nan, 26):
        await desk.set(value)
    assert desk.is_paused("rebalance")


async def test_values_between_two_looks_count_each(tmp_path: Path) -> None:
    """And so does a good one among them."""
    made = Desk(tmp_path, {"positions": limit(confirm_for="0s")})
    for value in (25, 5, 25):
        made.custom.set("positions", value, {"strategy": "m"})
        made.clock.advance(0.1)
    await made.service.look()
    assert made.actions.records == {}
    made.custom.set("positions", 26, {"strategy": "m"})
    await made.service.look()
    assert made.is_paused("rebalance")
    await made.state.close()


async def test_it_is_undone_by_hand_alone_and_not_at_once_done_again(desk: Desk) -> None:
    """The value is still bad when somebody resumes: that is for them to judge. Once it was good,
    the limit may act again."""
    for value in (25, 26):
        await desk.set(value)
    await desk.set(5)
    assert desk.is_paused("rebalance"), "a good value resumes nothing"
    await desk.set(27)
    assert await desk.actions.resume("positions") == ["rebalance", "signals"]
    assert not desk.is_paused("rebalance")
    for value in (28, 29, 30):
        await desk.set(value)
    assert not desk.is_paused("rebalance")
    await desk.restart()
    for value in (31, 32, 33):
        await desk.set(value)
    assert not desk.is_paused("rebalance"), "a restart does not forget who resumed it"
    for value in (20, 34, 35):
        await desk.set(value)
    assert desk.is_paused("rebalance")
    with pytest.raises(KeyError):
        await desk.actions.resume("other")


async def test_a_good_value_between_two_looks_rearms_it(desk: Desk) -> None:
    """It was good; that nobody looked just then does not matter."""
    for value in (25, 26):
        await desk.set(value)
    await desk.actions.resume("positions")
    await desk.wait(1)
    for value in (5, 30):
        desk.custom.set("positions", value, {"strategy": "m"})
    await desk.wait()
    await desk.set(31)
    assert desk.is_paused("rebalance")


async def test_it_rearms_only_where_the_config_says(tmp_path: Path) -> None:
    """So that a value that trembles at the limit does not act time and again."""
    made = Desk(tmp_path, {"positions": limit(rearm=10, confirmations=1, confirm_for="0s")})
    await made.set(21)
    await made.actions.resume("positions")
    for value in (19, 21, 19, 21):
        await made.set(value)
    assert not made.is_paused("rebalance")
    for value in (10, 21):
        await made.set(value)
    assert made.is_paused("rebalance")
    await made.state.close()


async def test_two_limits_hold_a_task_until_both_are_resumed(tmp_path: Path) -> None:
    """And a pause by hand that was there before goes on afterwards."""
    one = limit(action={"pause": ["rebalance"]}, confirmations=1, confirm_for="0s")
    other = limit(of="positions", action={"pause": ["rebalance"]}, confirmations=1,
                  confirm_for="0s", max={"critical": 30})  # fmt: skip
    made = Desk(tmp_path, {"positions": one, "more": other})
    by_hand = made.clock.now() + 7200
    await made.state.pause("rebalance", by_hand)
    await made.set(25)
    await made.set(35)
    assert made.actions.holder("rebalance") == (
        "paused by the limit positions (m), and by more (m): positions of m is 25, at most 20 is "
        "allowed"
    )
    await made.restart()
    assert made.is_paused("rebalance")
    assert await made.actions.resume("positions") == []
    assert made.state.tasks["rebalance"].paused_until == HELD_UNTIL
    assert await made.actions.resume("more") == ["rebalance"]
    assert made.actions.holder("rebalance") is None
    await made.state.close()


async def test_a_pause_by_hand_goes_on_after_the_limit(desk: Desk) -> None:
    """Resuming the limit must not start what somebody had paused."""
    by_hand = desk.clock.now() + 7200
    await desk.state.pause("rebalance", by_hand)
    for value in (25, 26):
        await desk.set(value)
    assert desk.state.tasks["rebalance"].paused_until == HELD_UNTIL
    await desk.actions.resume("positions")
    assert desk.state.tasks["rebalance"].paused_until == by_hand
    assert not desk.is_paused("signals")


async def test_two_limits_that_act_at_once_close_the_positions_once(tmp_path: Path) -> None:
    """They share the run; one that acts after it has ended has its own."""
    others = {name: limit(of="positions", confirm_for="0s") for name in ("one", "two")}
    later = limit(of="positions", max={"critical": 40}, confirm_for="0s")
    desk = Desk(tmp_path, {**others, "later": later})
    try:
        for value in (25, 26):
            await desk.set(value)
        await desk.wait(1)
        assert desk.starter.started == ["flatten"]
        desk.starter.end("success")
        await desk.wait(1)
        assert desk.messages().count("Action of limit one (m) is done") == 1
        assert desk.messages().count("Action of limit two (m) is done") == 1
        desk.clock.advance(60)
        for value in (45, 46):
            await desk.set(value)
        assert desk.starter.started == ["flatten", "flatten"]
    finally:
        desk.state._on_disk.writer.close()


async def test_a_task_to_run_that_a_reload_removed_is_said(desk: Desk) -> None:
    """After the claim, and before its run."""
    desk.starter.busy = True
    for value in (25, 26):
        await desk.set(value)
    tasks = {name: task for name, task in TASKS.items() if name != "flatten"}
    desk.service.apply(desk.config.model_copy(update={"tasks": tasks}))
    await desk.wait(1)
    assert desk.actions.records["positions|m"].error == "flatten is not configured any more"
    assert desk.value("quant_limit_action_failed") == 1
    assert desk.is_paused("rebalance")


async def test_a_task_to_run_that_was_paused_by_hand_starts_within_its_grace_or_not(
    desk: Desk,
) -> None:
    """Whoever paused it may have a reason."""
    desk.paused["flatten"] = desk.clock.now() + 1e9
    for value in (25, 26):
        await desk.set(value)
    await desk.wait(100)
    assert desk.starter.started == []
    del desk.paused["flatten"]
    await desk.wait(1)
    assert desk.starter.started == ["flatten"]


async def test_a_run_waits_for_runs_of_what_was_paused(desk: Desk) -> None:
    """Two programs that trade at the same time are worse than a minute; but a minute it is."""
    desk.starter.running["rebalance"] = RunningRun("r", "rebalance", None, "schedule", 0.0, 0.0)
    for value in (25, 26):
        await desk.set(value, seconds=45)
    assert desk.is_paused("signals")
    assert desk.starter.started == []
    await desk.wait(59)
    assert desk.starter.started == []
    await desk.wait(2)
    assert desk.starter.started == ["flatten"]


@pytest.mark.parametrize("outcome", ["error", "timeout", "crashed"])
async def test_a_run_that_fails_is_said_and_not_tried_again(desk: Desk, outcome: str) -> None:
    """Half of the positions may be closed: only a person can judge that."""
    for value in (25, 26):
        await desk.set(value)
    desk.starter.end(outcome)
    await desk.wait(600)
    assert desk.starter.started == ["flatten"]
    assert desk.value("quant_limit_action_failed") == 1
    assert desk.messages()[-1] == "Action of limit positions (m) failed"
    assert desk.is_paused("rebalance")


async def test_a_run_that_cannot_start_is_tried_within_its_grace(desk: Desk) -> None:
    """It runs already, say. An action that comes an hour late trades at another price."""
    desk.starter.busy = True
    for value in (25, 26):
        await desk.set(value)
    await desk.wait(200)
    assert desk.value("quant_limit_action_failed") == 0
    desk.starter.busy = False
    await desk.wait(1)
    assert desk.starter.started == ["flatten"]


async def test_what_was_claimed_before_a_kill_is_done_after_it_in_time_or_not_at_all(
    desk: Desk,
) -> None:
    """The claim and the pause are one; the run starts within its grace, or somebody is told."""
    desk.starter.busy = True  # the kill comes before it starts
    for value in (25, 26):
        await desk.set(value)
    await desk.restart()
    assert desk.is_paused("rebalance")
    await desk.wait(1)
    assert desk.starter.started == ["flatten"]
    await desk.restart()
    await desk.wait(1)
    assert desk.starter.started == [], "its run is in the state: it was started"


async def test_what_was_claimed_long_before_a_restart_is_not_run(desk: Desk) -> None:
    """The exporter was away for a night: the pause stays, and the run is for a person."""
    desk.starter.busy = True
    for value in (25, 26):
        await desk.set(value)
    desk.clock.advance(8 * 3600)
    await desk.restart()
    await desk.wait(1)
    assert desk.starter.started == []
    assert desk.is_paused("rebalance")
    assert desk.value("quant_limit_action_failed") == 1
    assert desk.actions.records["positions|m"].error == "flatten could not be started in time"


async def test_without_a_durable_claim_nothing_is_run_but_the_pause_holds(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flattening twice costs money, pausing twice nothing. With the disk back the rest follows."""
    real = desk.state.hold

    async def full(*_: Any) -> None:
        raise StateError("the disk is full")

    monkeypatch.setattr(desk.state, "hold", full)
    for value in (25, 26):
        await desk.set(value)
    assert desk.is_paused("rebalance")
    assert desk.starter.started == []
    assert desk.value("quant_limit_action_failed") == 1
    monkeypatch.setattr(desk.state, "hold", real)
    await desk.wait(1)
    assert desk.starter.started == ["flatten"]
    assert desk.value("quant_limit_action_failed") == 0
    await desk.actions.resume("positions")
    assert not desk.is_paused("rebalance")


async def test_equity_stops_a_strategy_by_its_daily_loss(tmp_path: Path) -> None:
    """Two points beyond the limit, and a point that is sent again is not a second one."""
    rule = limit(of="daily_loss", max={"critical": "4%"}, action={"pause": ["rebalance"]})
    made = Desk(tmp_path, {"stop": rule})
    base = made.clock.now()

    async def post(equity: float, at: float) -> None:
        made.clock.set(max(made.clock.now(), at))
        await made.strategies.post_equity("m", EquityPoint(at, equity))
        await made.wait(61)

    await post(1000.0, base - 86400)
    await post(950.0, base)
    await post(950.0, base)
    assert not made.is_paused("rebalance")
    await post(949.0, base + 300)
    assert made.is_paused("rebalance")
    assert (
        made.actions.records["stop|m"].why == "daily_loss of m is 5.10%, at most 4.00% is allowed"
    )
    await made.state.close()


@given(
    st.lists(st.sampled_from([5.0, 25.0, math.nan]), max_size=30), st.integers(1, 5),
    st.integers(0, 90),
)  # fmt: skip
def test_a_breach_is_confirmed_by_the_definition(
    values: list[float], confirmations: int, seconds: int
) -> None:
    """Against the definition: the last values but NaN, since the last good one."""
    rule = limit(confirmations=confirmations, confirm_for=f"{seconds}s")
    watch, bounds = Watch(), Bounds.critical(rule)
    for at, value in enumerate(values):
        watch.see(Reading("l", "m", "", value, float(at)), bounds, at * 20.0)
        known = [(n, v) for n, v in enumerate(values[: at + 1]) if not math.isnan(v)]
        good = max((n for n, v in known if v == 5.0), default=-1)
        bad = [n for n, v in known if n > good]
        expected = len(bad) >= confirmations and bool(bad) and (at - bad[0]) * 20.0 >= seconds
        assert watch.is_confirmed(rule, at * 20.0, counted=False) == expected


async def test_a_breach_that_is_confirmed_while_the_value_is_unknown_acts_too(
    tmp_path: Path,
) -> None:
    """By the values that there were; and no other limit is left out because of it."""
    made = Desk(tmp_path, {"first": limit(of="positions"), "second": limit(of="positions")})
    await made.set(25, seconds=10)
    await made.set(26, seconds=10)
    await made.set(math.nan, seconds=45)
    await made.wait(45)
    assert {record.limit for record in made.actions.records.values()} == {"first", "second"}
    whys = {record.why for record in made.actions.records.values()}
    assert whys == {"positions of m is 26, at most 20 is allowed"}
    await made.state.close()


async def test_a_run_that_waits_because_its_task_is_paused_is_said_once(desk: Desk) -> None:
    """Otherwise the message says that positions are closed, and they are not."""
    desk.paused["flatten"] = desk.clock.now() + 7200
    for value in (25, 26, 27, 28):
        await desk.set(value)
    assert desk.starter.started == []
    assert desk.messages() == [
        "Limit positions (m) acted", "Action of limit positions (m) waits"
    ]  # fmt: skip
    (text,) = [
        row["message"]["parts"][0] for row in desk.state.kept(MESSAGES).values()
        if "waits" in row["message"]["title"]
    ]  # fmt: skip
    assert "`quant-exporter resume flatten` starts it, until" in str(text)
    del desk.paused["flatten"]
    await desk.wait(1)
    assert desk.starter.started == ["flatten"]
