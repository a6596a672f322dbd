"""A fortnight in which nothing much is wrong, Thanksgiving and the half day after it included,
wakes nobody: no page, and two warnings at the most.

The real exporter lives it in seconds on a clock that the test moves, with a deploy, an outage of
minutes and a rate limit in it; replay asks what the shipped rules would have fired. The long form
is a quarter, with four holidays, two half days, the end of daylight saving and weekly deploys.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from exporter.strategies.equity_point import EquityPoint
from tests.generations import GENERATIONS, OLDER, Generation
from tests.integration.alert_rig import history
from tests.integration.alert_rig.data_faults import breaks
from tests.integration.alert_rig.life import Event, Life
from tests.integration.processes import need

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

ZONE = ZoneInfo("America/New_York")
STEP, CLOSE_LOOK = 300, 60
"""Seconds between scrapes, and when something happens."""
CONFIG = yaml.safe_load("""
timezone: America/New_York
sources:
  market: {type: simulated, requests_per_minute: 6000}
feeds:
  us_minute:
    {source: market, symbols: [NVDA.US, TSLA.US, SPY.US], interval: 1m, exchange: XNYS, poll: 2m,
     max_overdue: {warning: 10m, critical: 2h}, max_spread: {warning: 0.5%}}
  us_day:
    {source: market, symbols: [SPY.US], interval: 1d, exchange: XNYS, poll: 10m,
     max_overdue: {warning: 1h, critical: 4h}}
  euro: {source: market, symbols: [EURUSD], interval: 1h, exchange: FX, poll: 10m,
         max_overdue: {critical: 2h}}
tasks:
  pre_market_scan:
    {run: "exporter.tasks:pre_market_scan", schedule: "mon-fri 07:00", exchange: XNYS, grace: 1h}
  end_of_day_report:
    {run: "exporter.tasks:end_of_day_report", schedule: "close + 30m", exchange: XNYS, grace: 1h,
     announce: true}
  health_check: {run: "exporter.tasks:health_check", schedule: "every 30m"}
  key_check: {run: "exporter.tasks:key_check", schedule: "06:00"}
  rebalance: {command: ["true"], schedule: "close - 15m", exchange: XNYS, severity: critical}
  afternoon: {command: ["true"], schedule: "mon-fri 15:00", exchange: XNYS, severity: critical}
  signals:
    {command: ["true"], schedule: "every 30m while open", exchange: XNYS, severity: critical}
strategies:
  momentum_001: {currency: USD, max_age: 3d, max_drawdown: {warning: 5%, critical: 10%}}
""")


def at(month: int, day: int, hour: int, minute: int = 0, year: int = 2025) -> float:
    """A moment in New York, Unix seconds."""
    return datetime(year, month, day, hour, minute, tzinfo=ZONE).timestamp()


@dataclass(frozen=True)
class Quiet:
    """A time, what happens in it, and how many sessions and half days it has."""

    begin: float
    end: float
    deploys: Sequence[float]
    sessions: int
    half_days: int
    happens: Sequence[Event] = ()

    def pace(self, life: Life) -> float:
        """Seconds to the next scrape."""
        moments = [at for at, _ in self.happens] + list(self.deploys)
        near = any(-STEP <= life.now - moment < 3600 for moment in moments)
        step = CLOSE_LOOK if near else STEP
        return step - life.now % step

    async def live(self, folder: Path) -> tuple[Path, Counter[str]]:
        """From version to version, on one state; how often each task ran well."""
        path, runs = folder / "quiet.om", Counter[str]()
        with path.open("w") as out:
            life = Life("localhost:10077", folder, CONFIG, out, self.pace)
            begin = self.begin
            events = [*self.happens, *_equity(self.begin, self.end)]
            for end in (*self.deploys, self.end):
                runs += await life.live(begin, end, [e for e in events if begin <= e[0] < end])
                life.is_down(end + 60, end + 60)
                begin = end + 120
            out.write("# EOF\n")
        return path, runs


def _equity(begin: float, end: float) -> list[Event]:
    """Once a day, up and down by little."""
    days = range(int((end - begin) // 86400))
    return [
        (begin + day * 86400 + 3600, _post(100_000 * (1.002 if day % 2 else 0.995) ** (day % 7)))
        for day in days
    ]


def _post(equity: float) -> Callable[[Life], Any]:
    return lambda life: life.parts.strategies.post_equity(
        "momentum_001", EquityPoint(life.now, equity)
    )


OUTAGE = breaks("market", fault="server_error", duration=240)
TOO_FAST = breaks("market", fault="rate_limit", retry_after=30, count=2)
FORTNIGHT = Quiet(
    at(11, 23, 18), at(12, 7, 18), deploys=[at(11, 26, 20)], sessions=9, half_days=1,
    happens=[(at(11, 25, 11, 2), TOO_FAST), (at(12, 2, 10, 30), OUTAGE), (at(12, 3, 3), OUTAGE)],
)  # fmt: skip
QUARTER = Quiet(
    at(10, 31, 6), at(2, 1, 18, year=2026), sessions=62, half_days=2,
    deploys=[at(11, 1, 20) + week * 7 * 86400 for week in range(13)],
    happens=[(at(11, 12, 11, 2), TOO_FAST), (at(12, 2, 10, 30), OUTAGE),
             (at(1, 14, 3, year=2026), OUTAGE)],
)  # fmt: skip


@pytest.mark.parametrize(
    ("quiet", "generations"),
    [
        pytest.param(FORTNIGHT, [OLDER], id="fortnight"),
        pytest.param(QUARTER, [one.values[0] for one in GENERATIONS], id="quarter",
                     marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
    ],
)  # fmt: skip
def test_nobody_is_woken(quiet: Quiet, generations: list[Generation], tmp_path: Path) -> None:
    """No page, two warnings at the most, and each session's report is announced in the journal."""
    need("prometheus")
    path, runs = asyncio.run(quiet.live(tmp_path))
    of_sessions = ("end_of_day_report", "rebalance", "pre_market_scan")
    assert [runs[task] for task in of_sessions] == [quiet.sessions] * 3
    assert runs["afternoon"] == quiet.sessions - quiet.half_days  # 15:00 lies after their close
    for generation in generations:
        if generation.missing:
            continue
        folder = tmp_path / generation.name
        folder.mkdir()
        with history.served(path, folder, generation, stale_after=2 * STEP) as url:
            fired = history.fired(url, [(quiet.begin, quiet.end)])
        loud = {
            tier: [
                f"{one.name} {dict(one.labels)} {datetime.fromtimestamp(one.start, ZONE)}"
                for one in fired
                if one.severity == tier
            ]
            for tier in ("critical", "warning", "info")
        }
        assert not loud["critical"], "\n".join(loud["critical"])
        assert len(loud["warning"]) <= 2, "\n".join(loud["warning"])
        assert len(loud["info"]) == quiet.sessions
