"""Status views of every kind, for tests of the page and for its pictures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from zoneinfo import ZoneInfo

from exporter.state import Tally
from exporter.web.status import past_month, week
from exporter.web.status.view import (
    AlertRow,
    DigestRow,
    Failure,
    FeedRow,
    IncidentRow,
    LogLine,
    RunRow,
    StatusView,
    StrategyRow,
    TaskRow,
    Week,
)

NOW = 1795532400.0
"""Tuesday 2026-11-24, 10:00 in New York."""
HOUR, DAY = 3600.0, 86400.0
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def runs(
    task: str, count: int, *, seconds: float = 2.0, fail: tuple[int, ...] = ()
) -> list[RunRow]:
    """Daily runs up to now, oldest first; those at the places in `fail` failed."""
    return [
        RunRow(
            task,
            f"{task[:6]}{place:04d}",
            NOW - (count - place) * DAY / 3,
            seconds * (1 + (place * 7 % 5) / 4),
            "error" if place in fail else "success",
            "ConnectionError: the source does not answer" if place in fail else "",
        )
        for place in range(count)
    ]


def month(fail: tuple[int, ...] = ()) -> tuple[float, ...]:
    """Thirty days, oldest first: a week without runs, then good ones but those in `fail`."""
    return tuple(math.nan if day < 7 else 0.5 if day in fail else 1.0 for day in range(30))


def week_of(ran: Iterable[RunRow]) -> Week:
    """What the state file would count."""
    ran = sorted(ran, key=lambda run: run.started)
    counted = []
    for day, (begin, end) in week.spans(NOW, ZoneInfo("America/New_York")).items():
        that_day = [run for run in ran if begin <= run.started < end and run.outcome]
        count = Counter((run.task, str(run.outcome)) for run in that_day)
        newest = {(run.task, str(run.outcome)): run for run in that_day}
        counted.append((day, week.DayCount.of([
            Tally(task, outcome, count[task, outcome], run.started, run.run_id, run.error or None)
            for (task, outcome), run in newest.items()
        ])))  # fmt: skip
    return week.put_together(counted)


def _tasks() -> tuple[TaskRow, ...]:
    scan = TaskRow(
        "pre_market_scan", "ok", "critical", "mon-fri 07:00",
        next_run=NOW + 21 * HOUR, last_success=NOW - 3 * HOUR, deadline=NOW + 22 * HOUR, items=3,
        runs=tuple(runs("pre_market_scan", 15, seconds=4)),
    )  # fmt: skip
    report = TaskRow(
        "end_of_day_report", "ok", "warning", "close + 30m",
        next_run=NOW + 6.5 * HOUR, last_success=NOW - 17.5 * HOUR, items=12,
        runs=tuple(runs("end_of_day_report", 14, seconds=9)),
    )  # fmt: skip
    check = TaskRow(
        "health_check", "running", "warning", "every 30m",
        next_run=NOW + 1800, last_success=NOW - 1800, items=6,
        runs=tuple(runs("health_check", 24, seconds=0.4)),
    )  # fmt: skip
    rebalance = TaskRow(
        "rebalance", "paused", "critical", "close - 15m",
        paused_until=NOW + 2 * DAY, last_success=NOW - 5 * DAY,
        runs=tuple(runs("rebalance", 6, seconds=20)),
    )  # fmt: skip
    return tuple(replace(task, days=month()) for task in (scan, report, check, rebalance))


def well() -> StatusView:
    """A quiet morning."""
    tasks = _tasks()
    curve = past_month.draw(
        [(n * 6 * HOUR, 98_000 + 52 * n + 900 * math.sin(n / 5)) for n in range(120)]
    )
    assert curve
    return StatusView(
        NOW,
        "America/New_York",
        "0.1.0",
        tasks=tasks,
        feeds=(
            FeedRow("us_minute", "tickdb", "1m", "XNYS", open=True, symbols=3, newest=NOW - 60,
                    limits=(("critical", 7200.0),), days=month(fail=(12,))),
            FeedRow("fx_hourly", "tickdb", "1h", "FX", open=True, symbols=5, newest=NOW - 1200),
        ),
        strategies=(
            StrategyRow("momentum_001", "USD", 104_250.5, 0.012, -310.25, NOW - 900, DAY,
                        limits=(("warning", 0.05), ("critical", 0.1)),
                        curve=curve.path, curve_words=curve.words),
        ),
        week=week_of(run for task in tasks for run in task.runs),
        links=(("Metrics", "metrics"), ("Tasks as JSON", "api/v1/tasks")),
        digest=DigestRow("2026-11-23", "2026-11-23: quiet. 61 runs of 4 tasks, all well; 1,204 "
                         "log lines, no errors. Tomorrow: 55 slots, the first is health_check at "
                         "00:00.",
                         quiet=True),
    )  # fmt: skip


def fresh() -> StatusView:
    """The first minute: nothing ran, no bar came, no strategy is configured."""
    return StatusView(
        NOW,
        "America/New_York",
        "0.1.0",
        tasks=(
            TaskRow("health_check", "new", "warning", "every 30m", next_run=NOW + 1800),
            TaskRow(
                "pre_market_scan", "new", "critical", "mon-fri 07:00", next_run=NOW + 21 * HOUR
            ),
        ),
        feeds=(FeedRow("us_minute", "sim", "1m", "XNYS", open=True, symbols=3),),
    )


def simulated() -> StatusView:
    """What `make run` shows before a real source is configured."""
    return replace(well(), simulated=("sim",))


def failing() -> StatusView:
    """A task that failed three times, one that is late, an alert for each."""
    lines = tuple(
        LogLine(NOW - 2 * HOUR + n, level, text)
        for n, (level, text) in enumerate(
            [
                ("info", "attempt 1 of 3"),
                ("warning", "GET /market/kline/latest answered 503 after 1.2s"),
                ("error", "Traceback (most recent call last):\n  File \"my_signals.py\", line 12, "
                          "in compute\n    bars = await ctx.latest(SYMBOLS, '5m')"),
            ]
        )
    )  # fmt: skip
    broken = TaskRow(
        "signals", "failing", "critical", "every 5m while open",
        next_run=NOW + 300, last_success=NOW - DAY, last_failure=NOW - 2 * HOUR, failures=3,
        runs=tuple(runs("signals", 20, fail=(3, 17, 18, 19))), days=month(fail=(9, 28, 29)),
        failure=Failure(NOW - 2 * HOUR, "error", "SourceError: tickdb answered 503 three times",
                        "signal0019", lines),
    )  # fmt: skip
    late = TaskRow(
        "broker_sync", "late", "warning", "every 1h",
        next_run=NOW + HOUR, last_success=NOW - 5 * HOUR, deadline=NOW - 3 * HOUR,
        runs=tuple(runs("broker_sync", 9)), days=month(),
    )  # fmt: skip
    calm = well()
    return replace(
        calm,
        tasks=(*calm.tasks, broken, late),
        alerts=(
            AlertRow("QuantTaskFailing", "critical", "A task fails.", NOW - 2 * HOUR,
                     description="signals failed 3 times in a row.", subject="signals",
                     ack="alertname=QuantTaskFailing&task=signals"),
            AlertRow("QuantTaskFailing", "warning", "A task is late.", NOW - 3 * HOUR,
                     acknowledged=True, description="broker_sync is past its deadline.",
                     subject="broker_sync"),
        ),
        week=week_of(run for task in (*calm.tasks, broken) for run in task.runs),
        digest=DigestRow("2026-11-23", "2026-11-23: 2 of 64 runs failed; 9 errors of 2 kinds, 1 "
                         "new; 1 alert.", quiet=False),
    )  # fmt: skip


def overdue() -> StatusView:
    """Bars are missing, the drawdown is past its limit, the state is not durable."""
    calm = well()
    return replace(
        calm,
        feeds=(
            replace(calm.feeds[0], overdue=3 * HOUR, missing=240, late_count=2,
                    late=(("TSLA.US", 3 * HOUR), ("NVDA.US", HOUR)),
                    newest=NOW - 3 * HOUR, problem="tickdb does not answer: connect timed out"),
            calm.feeds[1],
        ),
        strategies=(replace(calm.strategies[0], drawdown=0.112, pnl_today=-11_204.0),),
        alerts=None,
        unresolved=(
            AlertRow("QuantDrawdown", "critical", "Drawdown over its limit.", NOW - 2 * HOUR,
                     description="momentum_001 is 11.2 % below its peak.", subject="momentum_001",
                     ack="alertname=QuantDrawdown&strategy=momentum_001"),
        ),
        incidents=(
            IncidentRow("QuantDrawdown", "critical", "momentum_001",
                        "momentum_001 is 11.2 % below its peak.", NOW - 2 * HOUR,
                        refused=("slack", "pagerduty")),
            IncidentRow("QuantTaskFailing", "warning", "signals", "signals failed 1 time.",
                        NOW - 20 * HOUR, NOW - 19 * HOUR, told=(("slack", NOW - 20 * HOUR),),
                        acknowledged_by="ann"),
        ),
        troubles=("State is not durable: the disk is full. Free space; writes wait until then.",),
    )  # fmt: skip


def paused() -> StatusView:
    """Everything was paused before a holiday."""
    calm = well()
    tasks = tuple(
        replace(t, state="paused", paused_until=NOW + 2 * DAY, next_run=math.nan)
        for t in calm.tasks
    )
    return replace(calm, tasks=tasks)


def unhealthy() -> StatusView:
    """The state cannot be kept."""
    return replace(
        well(),
        troubles=(
            "The state file was damaged and set aside as state.db.damaged-20261124T150000Z; a new "
            "one was begun.",
            "Last week's runs cannot be read: disk I/O error",
        ),
        week=Week(),
    )


def hostile() -> StatusView:
    """Text from outside that would like to be markup, very long words, turned writing."""
    failure = Failure(
        NOW - HOUR, "error", HOSTILE + " \u202egnp.exe " + "x" * 600, "r1",
        (LogLine(NOW - HOUR, "error", HOSTILE + "\x1b[31m red \x00"),),
    )  # fmt: skip
    task = TaskRow("signals", "failing", "critical", "every 5m", failures=1, failure=failure,
                   runs=tuple(runs("signals", 3, fail=(2,))))  # fmt: skip
    return replace(
        well(),
        tasks=(task,),
        alerts=(
            AlertRow(
                HOSTILE,
                "critical",
                HOSTILE,
                NOW - 60,
                description=HOSTILE,
                subject=HOSTILE,
                ack="alertname=%3Cscript%3E",
            ),
        ),
        incidents=(
            IncidentRow(
                HOSTILE,
                "critical",
                HOSTILE,
                HOSTILE,
                NOW - 60,
                told=((HOSTILE, NOW),),
                refused=(HOSTILE,),
                acknowledged_by=HOSTILE,
                muted=HOSTILE,
            ),
        ),
        week=week_of([RunRow("signals", "r1", NOW - HOUR, 1.0, "error", HOSTILE)]),
        simulated=(HOSTILE,),
        digest=DigestRow("2026-11-23", HOSTILE, quiet=False),
        troubles=(HOSTILE,),
    )


def many(tasks: int = 200) -> StatusView:
    """As many tasks as the design plans for, a few of them failing."""
    rows = tuple(
        TaskRow(
            f"task_{n:03d}", "failing" if n % 50 == 7 else "ok", "warning", "every 5m",
            next_run=NOW + n, last_success=NOW - n * 60, failures=int(n % 50 == 7),
            runs=tuple(runs(f"task_{n:03d}", 21, fail=(20,) if n % 50 == 7 else ())),
            days=month(fail=(n % 30,)), strategy="carry" if n % 3 else "", folder=f"bots/{n % 4}",
            failure=Failure(NOW - n, "timeout", "ended after 300 s") if n % 50 == 7 else None,
        )
        for n in range(tasks)
    )  # fmt: skip
    ran = week_of(run for task in rows for run in task.runs)
    return replace(well(), tasks=rows, week=ran)


def forty() -> StatusView:
    """A usual evening with forty tasks, one of them in trouble."""
    rows = many(36).tasks
    calm = tuple(replace(t, state="ok", failure=None, failures=0) for t in rows)
    view = failing()
    return replace(view, tasks=(*view.tasks[:4], view.tasks[4], *calm[1:]))


VIEWS = {
    "well": well,
    "fresh": fresh,
    "simulated": simulated,
    "failing": failing,
    "overdue": overdue,
    "paused": paused,
    "unhealthy": unhealthy,
    "hostile": hostile,
    "many": many,
}
