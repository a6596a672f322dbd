"""A week as the state file of an exporter would have it, written while none runs."""

from __future__ import annotations

import math
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from exporter.logs.digest.archive import save
from exporter.logs.digest.facts import AlertDay, LogDigest, TaskDay
from exporter.state import Run, State, sql
from exporter.strategies.equity import EquityCurve
from exporter.strategies.equity_point import EquityPoint
from exporter.util.clock import SystemClock
from exporter.util.local_time import date_of, day_bounds, local_time
from tests.runs import ended

ZONE = ZoneInfo("America/New_York")
ERROR = "ConnectionRefusedError: [Errno 111] Connection refused"
_RUNS = {"pre_market_scan": (420, 4.2), "signals": (600, 1.4), "end_of_day_report": (990, 6.8)}
"""When they start, in minutes after midnight, and how many seconds they take."""
_BAD_DAY = 3
_MONTH = 30


async def write_week(folder: Path) -> None:
    """Runs, digests and equity up to last night; one task failed once."""
    clock = SystemClock()
    state = State.open(folder / "var/state.db", clock)
    today, runs = date_of(clock.now(), ZONE), list[Run]()
    for back in range(1, 8):
        day = today - timedelta(back)
        for task, (minutes, seconds) in _RUNS.items():
            at = local_time(day, minutes, ZONE)
            bad = task == "signals" and back == _BAD_DAY
            run = ended(
                f"{task}-{day}", task, at, "error" if bad else "success", at,
                at + seconds + back / 10, error=ERROR if bad else None,
            )  # fmt: skip
            runs.append(run)
        _digest(folder, day, bad=back == _BAD_DAY)
    await state.write([sql.finish(run) for run in runs])
    await _earn(state, today, clock.now())
    await state.close()


def _digest(folder: Path, day: date, *, bad: bool) -> None:
    begin, end = day_bounds(day, ZONE)
    alerts = [AlertDay("QuantTaskFailing", "critical", 1, 1)] if bad else []
    tasks = [TaskDay(task, 1, {"error": 1} if bad and task == "signals" else {}, 0, 0, 2.0, None)
             for task in _RUNS]  # fmt: skip
    made = LogDigest(
        day.isoformat(), str(ZONE), begin, end, 1, 0.1, 0.1, 400, 0, 0, {"info": 400}, tasks=tasks,
        alerts=alerts, made_at=end,
    )  # fmt: skip
    save(made, folder / "var/reports")


async def _earn(state: State, today: date, now: float) -> None:
    """A month of equity that ends where the strategy is."""
    kept = state.kept("strategy").get("paper") or {}
    known = EquityCurve.from_json(kept.get("curve") or {}).equity
    ends_at = 10_000.0 if math.isnan(known) else known
    curve = EquityCurve()
    for back in range(_MONTH, -1, -1):
        at = now if back == 0 else local_time(today - timedelta(back), 1200, ZONE)
        equity = ends_at - 9 * back + 120 * math.sin(back / 3)
        curve = curve.add(EquityPoint(at, round(equity, 2)), ZONE)
    await state.keep("strategy", "paper", {**kept, "curve": curve.to_json()})
