"""``python -m benchmarks.children.month DAYS STEP_SECONDS KEPT_DAYS``: the real exporter lives that
many days on a clock that is moved: tasks, feeds, pings, equity, fills, notifications, scrapes, page
views.

After each day it prints as JSON what it holds: memory, of it and of the processes below it, files.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import sys
from collections.abc import AsyncIterator, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.live_memory import live_bytes
from benchmarks.processes import free_port, memory_mb
from exporter.app import App
from exporter.config import load
from exporter.logs import retention
from exporter.runner.external import Ping
from exporter.runtime import gc_tuning, malloc_tuning
from exporter.runtime.wiring import ExporterServices
from exporter.state import upkeep
from exporter.state.ledger import Fill
from exporter.strategies.equity_point import EquityPoint

BEGIN = 1_790_553_600.0
"""A Monday, midnight UTC."""
DAY = 86400.0
_TASKS, _STRATEGIES, _SYMBOLS, _PINGS = 12, 2, 50, 3


class MovedClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self._wall, self._monotonic = BEGIN, 1000.0

    def now(self) -> float:
        """Unix seconds."""
        return self._wall

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._wall += seconds
        self._monotonic += seconds


class Moved(App):
    """Without the work that real seconds drive: :class:`Month` does it when the clock says so."""

    def _start_background(
        self, services: ExporterServices, stack: contextlib.AsyncExitStack
    ) -> None:
        pass


class Month:
    """One exporter, and everything that happens to it."""

    def __init__(self, folder: Path, step: float, kept_days: float) -> None:
        path = folder / "exporter.yml"
        path.write_text(json.dumps(_config(kept_days)))
        self.clock, self.step = MovedClock(), step
        self.app = Moved(path, load(path), self.clock)
        self.state = folder / "var/state.db"
        self._number = 0

    async def live(self, days: int) -> AsyncIterator[dict[str, float]]:
        """One day after the other: memory and size at its end."""
        async with contextlib.AsyncExitStack() as stack:
            self.parts = await self.app.start(stack)
            session = aiohttp.ClientSession(f"http://{self.app.config.listen}")
            self.http = await stack.enter_async_context(session)
            await self.parts.scheduler.stop()
            await self.parts.feeds.stop()
            gc_tuning.settle()
            for day in range(1, days + 1):
                while self.clock.now() < BEGIN + day * DAY:
                    self.clock.advance(self.step)
                    await self._happen()
                yield {"day": day, "runs": self._runs() / day, **self._held()}

    def _runs(self) -> float:
        return sum(
            sample.value
            for family in self.app.registry.collect()
            for sample in family.samples
            if sample.name == "quant_task_runs_total"
        )

    def _held(self) -> dict[str, float]:
        gc.collect()
        own = memory_mb(os.getpid(), "Pss_Anon", alone=True)
        return {
            "live_mb": live_bytes() / 1e6,
            "memory_mb": own,
            "below_mb": memory_mb(os.getpid(), "Pss_Anon") - own,
            "state_mb": _size(self.state.parent.glob("state.db*")),
            "logs_mb": _size(self.state.parent.glob("log/*")),
            "open_files": len(list(Path("/proc/self/fd").iterdir())),
        }

    async def _happen(self) -> None:
        parts, now = self.parts, self.clock.now()
        self._number += 1
        await parts.scheduler.sweep()
        for feed in parts.feeds.feeds.values():
            if feed.next_poll(now) <= now:
                await parts.feeds.poll(feed)
        for number in range(_PINGS):
            await parts.tasks_view.ping("bot", Ping("start", rid=f"{self._number}-{number}"))
            await parts.tasks_view.ping("bot", Ping("success", rid=f"{self._number}-{number}"))
        for number in range(_STRATEGIES):
            equity = 100_000.0 + (self._number * 37 + number) % 1000
            await parts.strategies.post_equity(f"strategy_{number}", EquityPoint(now, equity))
            fill = Fill("AAPL.US", "sell" if self._number % 2 else "buy", now, Decimal(1))
            await parts.strategies.holdings.add_fill(f"strategy_{number}", fill)
        await parts.alerts.journal.record("chat", _notification(self._number, now))
        for work in (
            parts.strategies.refresh, parts.strategies.purge, parts.custom_metrics.flush,
            parts.limits.look, parts.state.probe,
        ):  # fmt: skip
            await work()
        pages = ("/", "/tasks/task_00") if self._number % 4 == 0 else ()
        for page in ("/metrics", *pages):
            async with self.http.get(page) as answer:
                await answer.read()
        while parts.runner.running:
            await asyncio.sleep(0.002)


def _size(files: Iterable[Path]) -> float:
    """Megabytes of all of them, but for one that was deleted or renamed just now."""
    found = 0
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            found += file.stat().st_size
    return found / 1e6


def _config(kept_days: float) -> dict[str, Any]:
    kept = f"{kept_days:g}d"
    symbols = [f"C{number:03d}USDT" for number in range(_SYMBOLS)]
    tasks: dict[str, Any] = {
        f"task_{number:02d}": {"run": "exporter.tasks:health_check", "schedule": "every 1h"}
        for number in range(_TASKS)
    }
    return {
        "listen": f"127.0.0.1:{free_port()}",
        "timezone": "UTC",
        "alertmanager_url": "http://127.0.0.1:9",
        "prometheus_url": "http://127.0.0.1:9",
        "sources": {"market": {"type": "simulated", "requests_per_minute": 100_000}},
        "feeds": {
            "coins": {
                "source": "market", "symbols": symbols, "interval": "1h", "exchange": "24/7",
                "poll": "30m", "max_overdue": {"critical": "3h"},
            }
        },
        "tasks": {
            **tasks,
            "command": {"command": ["true"], "schedule": "every 4h"},
            "failing": {"command": ["false"], "schedule": "every 2h"},
            "bot": {"external": True, "schedule": "every 1d"},
        },
        "strategies": {
            f"strategy_{number}": {"currency": "USD", "max_age": "1d"}
            for number in range(_STRATEGIES)
        },
        "logs": {"keep": kept, "errors_keep": kept},
        "ledger": {"keep_fills": kept, "keep_equity": kept},
    }  # fmt: skip


def _notification(number: int, now: float) -> dict[str, Any]:
    """Each alert fires, and is resolved by the next one."""
    labels = {"alertname": "QuantTaskFailing", "severity": "warning", "task": f"t{number // 2}"}
    status = "resolved" if number % 2 else "firing"
    stamp = f"2026-10-01T{number % 24:02d}:00:00Z"
    alert = {
        "status": status, "labels": labels, "annotations": {"summary": "A task fails."},
        "startsAt": stamp, "endsAt": stamp, "fingerprint": f"{number // 2:016x}",
    }  # fmt: skip
    return {
        "status": status, "groupKey": f"{number // 2}", "groupLabels": {}, "commonLabels": {},
        "commonAnnotations": {}, "alerts": [alert],
    }  # fmt: skip


async def main(days: int, step: float, kept_days: float) -> None:
    """Print a line a day."""
    malloc_tuning.give_back()
    upkeep.KEEP_SECONDS = kept_days * DAY
    retention.LOOK_SECONDS = 0.2  # its thread lives in real seconds
    async for found in Month(Path.cwd(), step, kept_days).live(days):
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
