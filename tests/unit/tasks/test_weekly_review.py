"""Monday's review of the seven days before."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from exporter.config import Strategy
from exporter.logs.digest.archive import save
from exporter.logs.digest.facts import AlertDay, LogDigest
from exporter.messages.message import MessageTable
from exporter.state import State
from exporter.strategies.equity import EquityCurve
from exporter.strategies.equity_point import EquityPoint
from exporter.tasks import weekly_review
from exporter.tasks.base_context import About
from exporter.tasks.context import Context
from tests.runs import ended
from tests.unit.clocks import ManualClock
from tests.unit.tasks.posted import Posted

ZONE = ZoneInfo("America/New_York")


def new_york(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()


MONDAY = new_york("2026-11-30T07:00:00")


class Week:
    """What the task asks for: a real state and real files."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.reports = ManualClock(MONDAY), folder / "reports"
        self.state = State.open(folder / "state.db", self.clock)
        self.posted, self.curve = Posted(), EquityCurve()

    @property
    def parts(self) -> SimpleNamespace:
        async def refresh() -> None:
            pass

        return SimpleNamespace(
            state=self.state, zone=ZONE, reports=self.reports, outbox=self.posted,
            config=SimpleNamespace(
                report_to=lambda task: ("phone",), public_url="https://quant.example"
            ),
            report_name=lambda base, task: base,
            strategies=SimpleNamespace(
                refresh=refresh, curves={"momentum": self.curve},
                configured={"momentum": Strategy(currency="EUR")},
            ),
        )  # fmt: skip

    def equity(self, *points: tuple[str, float]) -> None:
        for at, value in points:
            self.curve = self.curve.add(EquityPoint(new_york(at), value, 0.0), ZONE)

    async def run(self, slot: float | None = MONDAY) -> int:
        about = About("weekly_review", "r1", slot, 1)
        return await weekly_review(Context(about, self.clock, self))  # type: ignore[arg-type]


@pytest.fixture
async def week(tmp_path: Path) -> AsyncIterator[Week]:
    made = Week(tmp_path)
    yield made
    await made.state.close()


async def test_the_week_before_is_reviewed_and_no_other_day(week: Week) -> None:
    """From Monday to Sunday: profit, the deepest drawdown within a day, failures, slow runs."""
    week.equity(
        ("2026-11-20T16:00", 1000), ("2026-11-23T10:00", 800), ("2026-11-23T16:00", 1100),
        ("2026-11-27T16:00", 1045), ("2026-11-30T06:00", 1),
    )  # fmt: skip
    for name, at, seconds, outcome in (
        ("quick", "2026-11-23T00:00:01", 0.5, "success"),
        ("slow", "2026-11-25T10:00", 90.0, "success"),
        ("slow", "2026-11-26T10:00", 30.0, "timeout"),
        ("slow", "2026-11-27T10:00", 60.0, "error"),
        ("slow", "2026-11-22T10:00", 900.0, "error"),
        ("slow", "2026-11-30T00:00", 900.0, "error"),
    ):
        began = new_york(at)
        await week.state.finish(ended(f"{name} {at}", name, began, outcome, began, began + seconds))
    alert = AlertDay("QuantTaskFailing", "critical", 2, 2, 4)
    for day in range(23, 29):
        digest = LogDigest(f"2026-11-{day}", "UTC", 0.0, 1.0, 1, 0.0, 0.0, 5, 0, 0, alerts=[alert])
        save(digest, week.reports)
    assert await week.run() == 4
    ((message, to, key),) = week.posted.messages
    assert message.title == "Week from 2026-11-23 to 2026-11-29"
    assert (to, key) == (("phone",), f"weekly_review|2026-11-23|{MONDAY}")
    summary, *tables, link = message.parts
    assert link == "As a page: https://quant.example/reviews/2026-11-23"
    assert summary == "2 of 4 runs failed; 12 alerts."
    found = {table.title: table for table in tables if isinstance(table, MessageTable)}
    assert found["Strategies"].rows == [("momentum", "45.00", "EUR", "20.00%", "1,045.00")]
    ((task, failed, newest, _),) = found["Failing tasks"].rows
    assert (task, failed, newest) == ("slow", "2 of 3", "error")
    assert found["Slowest tasks"].rows == [("slow", "1m 30s", "1m")]
    assert found["Alerts"].rows == [("QuantTaskFailing", "critical", "12")]
    assert found["Alerts"].note == "No digest of Sun: alerts of those days are not counted."
    equity = message.charts[0].series["momentum"]
    assert equity[-10:] == [0.0, None, None, pytest.approx(0.1), None, None, None,
                            pytest.approx(0.045), None, None]  # fmt: skip
    text = (week.reports / "weekly_review-2026-11-23.md").read_text()
    assert "## Failing tasks\n\n| Task | Failed | Newest | Error |" in text
    data = json.loads((week.reports / "weekly_review-2026-11-23.json").read_text())
    assert [table["title"] for table in data["tables"]] == list(found)


async def test_an_empty_week_is_reviewed_too(week: Week) -> None:
    """By hand, on any day."""
    assert await week.run(slot=None) == 0
    ((message, _, _),) = week.posted.messages
    assert message.parts[0] == "no run; no alert."
