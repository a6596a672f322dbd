"""The nightly digest tells of the whole day, and reaches each channel once."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from exporter.config import Config
from exporter.logs.digest.archive import load, save
from exporter.logs.digest.build import build
from exporter.logs.digest.facts import LogDigest, Request
from exporter.state import State
from exporter.strategies.equity import EquityCurve
from exporter.strategies.equity_point import EquityPoint
from exporter.tasks.base_context import About
from exporter.tasks.builtin import log_review as review
from exporter.tasks.builtin.beyond_logs import strategies_on
from exporter.tasks.context import Context
from tests.unit.clocks import ManualClock
from tests.unit.tasks.posted import Posted

ZONE = ZoneInfo("America/New_York")
SLOT = datetime(2026, 3, 4, 23, 59, tzinfo=ZONE).timestamp()
MIDNIGHT = SLOT + 60


class ReviewBench:
    """What the task asks for: a real state and real files, a hand on the clock."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.clock = ManualClock(SLOT)
        given = {"state": folder / "state.db", "logs": {"directory": folder / "log"}}
        self.config = Config.model_validate(given | config)
        self.reports = folder / "reports"
        self.state = State.open(self.config.state, self.clock)
        self.posted = Posted()
        (folder / "log").mkdir()

    @property
    def parts(self) -> SimpleNamespace:
        async def refresh() -> None:
            pass

        return SimpleNamespace(
            config=self.config, state=self.state, zone=ZONE, reports=self.reports,
            strategies=SimpleNamespace(refresh=refresh), calendars=SimpleNamespace(get=None),
            outbox=self.posted,
        )  # fmt: skip

    def log(self, at: float, message: str, level: str = "info", day: str = "2026-03-04") -> None:
        moment = datetime.fromtimestamp(at, ZoneInfo("UTC")).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        with (self.config.logs.directory / f"exporter-{day}.jsonl").open("a") as file:
            file.write(
                f'{{"timestamp":"{moment}","level":"{level}","logger":"a","message":"{message}"}}\n'
            )

    async def run(self, slot: float | None = SLOT) -> int:
        """The task, once."""
        about = About("log_review", "r1", slot, 1)
        return await review.log_review(Context(about, self.clock, self))  # type: ignore[arg-type]

    def titles(self) -> list[str]:
        """Of the messages, without what they say of the day."""
        return [message.title.partition(":")[0] for message, _, _ in self.posted.messages]

    def digest(self, day: str = "2026-03-04") -> LogDigest:
        """As it is kept."""
        kept = load(self.reports / f"digest-{day}.json")
        assert kept is not None
        return kept


async def build_here(request: Request, timeout: float) -> LogDigest:
    """Without a process of its own, which takes most of a second to start."""
    return build(request)


CHANNELS = {
    "digest": {
        "to": ["slack", "email"],
        "slack": {"url_env": "HOOK"},
        "email": {"smtp": "h:25", "sender": "a@b.c", "to": ["a@b.c"]},
    }
}


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = ReviewBench(
        tmp_path, **CHANNELS, strategies={"momentum": {"currency": "EUR"}},
        tasks={"log_review": {"run": "exporter.tasks:log_review", "schedule": "23:59",
                              "timeout": "10m"}},
    )  # fmt: skip
    monkeypatch.setattr(review, "build_apart", build_here)
    yield made
    await made.state.close()


async def test_the_last_minute_of_the_day_is_in_its_digest(
    bench: ReviewBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run waits for midnight; what comes behind it belongs to the next day."""
    waited = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        bench.clock.advance(seconds)
        if len(waited) == 30:
            bench.log(bench.clock.now(), "boom", "error")
        if bench.clock.now() >= MIDNIGHT:
            bench.log(bench.clock.now(), "tomorrow", day="2026-03-05")

    bench.log(SLOT - 3600, "early")
    monkeypatch.setattr(review.asyncio, "sleep", sleep)
    assert await bench.run() == 2
    assert sum(waited) == pytest.approx(61)
    digest = bench.digest()
    assert (digest.records, [error.example for error in digest.errors]) == (2, ["boom"])
    assert digest.made_at >= digest.end
    ((message, channels, _),) = bench.posted.messages
    assert message.title == "Digest 2026-03-04: no run ended"
    assert message.parts[0].startswith("2026-03-04: no run ended; 1 error of 1 kind, 1 new.")
    titles = [part.title for part in message.parts[1:] if not isinstance(part, str)]
    assert titles == ["Errors", "Due tomorrow", "Log"]
    assert channels == ("slack", "email")


@pytest.mark.parametrize("after", [300, 7 * 3600])
async def test_a_slot_before_noon_is_about_the_day_before(bench: ReviewBench, after: float) -> None:
    """At five past midnight as before breakfast."""
    bench.log(SLOT - 3600, "of the day")
    bench.clock.jump(MIDNIGHT + after - bench.clock.now())
    await bench.run(slot=MIDNIGHT + after)
    assert bench.titles() == ["Digest 2026-03-04"]


async def test_nothing_waits_for_midnight_by_hand_or_without_time(
    bench: ReviewBench, caplog: pytest.LogCaptureFixture
) -> None:
    """A run by hand tells of the day so far; too short a timeout is said, with what to do."""
    bench.log(SLOT - 3600, "early")
    bench.clock.jump(-30_000)
    await bench.run(slot=None)
    assert bench.digest().made_at == SLOT - 30_000
    tasks = {
        "log_review": {"run": "exporter.tasks:log_review", "schedule": "23:59", "timeout": "1m"}
    }
    bench.config = Config.model_validate(bench.config.model_dump() | {"tasks": tasks})
    bench.clock.jump(30_000)
    with caplog.at_level(logging.WARNING):
        await bench.run()
    assert "give the task a timeout of 10m" in caplog.text


async def test_the_day_before_is_told_whole_too(bench: ReviewBench) -> None:
    """When nobody told it, or somebody did before its end; once is enough."""
    bench.clock.set(MIDNIGHT + 2)
    yesterday = SLOT - 86400
    bench.log(yesterday, "one", day="2026-03-03")
    bench.log(SLOT, "two")
    await bench.run()
    path = bench.reports / "digest-2026-03-03.json"
    kept = load(path)
    assert kept is not None
    assert kept.records == 1
    bench.log(yesterday + 30, "late", day="2026-03-03")
    await bench.run()
    assert load(path) == kept
    save(LogDigest(**{**vars(kept), "made_at": kept.end - 60}), bench.reports)
    await bench.run()
    again = load(path)
    assert again is not None
    assert again.records == 2
    assert bench.titles() == ["Digest 2026-03-04"] * 3


async def test_a_repeated_run_is_about_the_same_and_one_by_hand_is_not(bench: ReviewBench) -> None:
    """So that a channel gets a slot's digest once; by hand everybody gets it again."""
    bench.clock.set(MIDNIGHT + 2)
    bench.log(SLOT, "two")
    await bench.run()
    await bench.run()
    await bench.run(slot=None)
    keys = [key for _, _, key in bench.posted.messages]
    assert keys[0] == keys[1] == f"log_review|2026-03-04|{SLOT}"
    assert keys[2] == "log_review|2026-03-05|r1"


async def test_report_to_is_where_the_digest_goes(bench: ReviewBench) -> None:
    """Before the keys that said so earlier."""
    given = bench.config.model_dump(exclude_unset=True)
    given["messages"] = {"phone": {"url_env": "PHONE"}}
    given["tasks"]["log_review"]["report_to"] = ["phone"]
    bench.config = Config.model_validate(given)
    bench.clock.set(MIDNIGHT + 2)
    bench.log(SLOT, "two")
    await bench.run()
    assert [channels for _, channels, _ in bench.posted.messages] == [("phone",)]


async def test_strategies_have_their_day_without_a_report(bench: ReviewBench) -> None:
    """From the state, as of the digest's day; the newest equity of a later day tells nothing."""
    curve = EquityCurve().add(EquityPoint(SLOT - 7200, 1000.0, 0.0), ZONE)
    curve = curve.add(EquityPoint(SLOT - 3600, 900.0, 0.0), ZONE)
    await bench.state.keep("strategy", "momentum", {"curve": curve.to_json()})
    bench.clock.set(MIDNIGHT + 2)
    bench.log(SLOT, "two", "error")
    await bench.run()
    day = bench.digest().strategies["momentum"]
    assert day == {"currency": "EUR", "equity": 900.0, "pnl_today": -100.0, "drawdown": 0.1}
    kept = bench.state.kept("strategy")
    assert strategies_on(bench.config, kept, SLOT - 86400) == {}
    tomorrow = strategies_on(bench.config, kept, SLOT + 86400)
    assert tomorrow["momentum"]["pnl_today"] == 0.0


async def test_a_quiet_day_may_be_kept_quiet(bench: ReviewBench) -> None:
    """`quiet: false` sends nothing then; the pages are there."""
    settings = {"digest": CHANNELS["digest"] | {"quiet": False}}
    bench.config = Config.model_validate(bench.config.model_dump(exclude_unset=True) | settings)
    bench.clock.set(MIDNIGHT + 2)
    bench.log(SLOT, "fine")
    await bench.run()
    assert bench.posted.messages == []
    assert (bench.reports / "digest-2026-03-04.html").exists()


@pytest.mark.parametrize("tested", [True, False])
async def test_the_days_report_of_backtests_is_linked(bench: ReviewBench, tested: bool) -> None:
    bench.clock.set(MIDNIGHT + 2)
    bench.log(SLOT, "two", "error")
    bench.reports.mkdir(parents=True, exist_ok=True)
    if tested:
        (bench.reports / "backtest-2026-03-04.html").write_text("<html>")
    await bench.run()
    message, _, _ = bench.posted.messages[-1]
    assert str(message.parts).count("/backtests/2026-03-04") == tested
