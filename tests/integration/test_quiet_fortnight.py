"""A week in which nothing is wrong, Thanksgiving and the half day after it included, is a week in
which nobody hears anything.

The real exporter lives it in seconds on a clock that the test moves, with a deploy in the middle;
what each scrape would have seen goes into a real Prometheus, and replay asks what the rules would
have fired.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from exporter.alerts.api_clients import PrometheusClient
from exporter.alerts.replay.engine import Fired, replay
from exporter.alerts.replay.rules import read_rules
from exporter.app import App
from exporter.config import load
from exporter.strategies.equity_point import EquityPoint
from tests.integration.day import LABELS
from tests.integration.processes import ROOT, Program, answers, free_port, need, wait_for
from tests.unit.clocks import ManualClock

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

ZONE = ZoneInfo("America/New_York")
RULES = sorted((ROOT / "prometheus/rules").glob("*.yml"))
USED = set(re.findall(r"\bquant_[a-z_]+", "".join(file.read_text() for file in RULES)))
USED |= {"process_start_time_seconds"}
OPEN_STEP, CLOSED_STEP = 120, 300
"""Seconds between scrapes while New York trades, and while it does not."""
CONFIG = """
listen: 127.0.0.1:0
alertmanager_url: SERVERS
prometheus_url: SERVERS
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
  rebalance: {command: ["true"], schedule: "close - 16m", exchange: XNYS, severity: critical}
  afternoon: {command: ["true"], schedule: "mon-fri 15:00", exchange: XNYS, severity: critical}
  signals:
    {command: ["true"], schedule: "every 30m while open", exchange: XNYS, severity: critical}
strategies:
  momentum_001: {currency: USD, max_age: 3d, max_drawdown: {warning: 5%, critical: 10%}}
"""


NOTHING_FIRES: dict[str, Any] = {
    "/api/v2/alerts": [],
    "/api/v2/silences": [],
    "/metrics": "",
    "/api/v1/alerts": {"status": "success", "data": {"alerts": []}},
}
"""What Alertmanager and Prometheus answer in such a week."""


def servers() -> web.Application:
    """Alertmanager and Prometheus, as far as the exporter asks them."""

    async def answer(request: web.Request) -> web.Response:
        found = NOTHING_FIRES[request.path]
        return web.Response(text=found) if isinstance(found, str) else web.json_response(found)

    app = web.Application()
    app.add_routes([web.get(path, answer) for path in NOTHING_FIRES])
    return app


def at(day: int, hour: int, minute: int = 0) -> float:
    """A moment of that November, Unix seconds; Thursday the 27th is the holiday."""
    return datetime(2025, 11, day, hour, minute, tzinfo=ZONE).timestamp()


BEGIN, DEPLOY, END = at(23, 18), at(26, 20), at(30, 18)


class Week:
    """One exporter's life, from one moment to another, on the state that it finds."""

    def __init__(self, config: Path, out: IO[str], begin: float, end: float) -> None:
        self.out, self.end, self.config = out, end, config
        self.clock = ManualClock(begin - CLOSED_STEP)
        self.began = begin
        self.equity = 100_000.0

    async def live(self) -> Counter[str]:
        """Until the end; how often each task ran well."""
        async with contextlib.AsyncExitStack() as stack:
            there = await stack.enter_async_context(TestServer(servers()))
            self.config.write_text(CONFIG.replace("SERVERS", str(there.make_url("")).rstrip("/")))
            self.app = App(self.config, load(self.config), self.clock)
            parts = self.services = await self.app.start(stack)
            # From here on nobody but the clock says what happens next.
            await parts.scheduler.stop()
            await parts.feeds.stop()
            while self.clock.now() < self.end:
                open_now = self.services.supply.calendars.get("XNYS").is_open(self.clock.now())
                self.clock.advance(OPEN_STEP if open_now else CLOSED_STEP)
                await self._minute(self.clock.now())
                self._scrape()
            runs = await self.services.state.runs(0.0, limit=100_000)
            return Counter(run.task for run in runs if run.outcome == "success")

    async def _minute(self, now: float) -> None:
        if now % 86400 == 0:
            self.equity *= 1.002 if now % 172_800 == 0 else 0.995
            point = EquityPoint(now, self.equity)
            await self.services.strategies.post_equity("momentum_001", point)
        await self.services.scheduler.sweep()
        for state in self.services.feeds.feeds.values():
            if state.next_poll(now) <= now:
                await self.services.feeds.poll(state)
        await self.services.alerts.acks.reconcile()
        # Writes end before time goes on; five minutes in one go would be a disk that hangs.
        while self._busy():
            await asyncio.sleep(0.002)

    def _busy(self) -> bool:
        parts = self.services
        under_way = parts.scheduler._background or parts.runner.running or parts.state.open_runs()
        return bool(under_way) or not parts.state.healthy

    def _scrape(self) -> None:
        for name, labels, value in self._samples():
            told = ",".join(f'{k}="{v}"' for k, v in {**labels, **LABELS}.items())
            text = "NaN" if math.isnan(value) else repr(value)
            self.out.write(f"{name}{{{told}}} {text} {self.clock.now():.3f}\n")

    def _samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        for family in self.app.registry.collect():
            for sample in family.samples:
                if sample.name == "process_start_time_seconds":
                    yield sample.name, {}, self.began
                elif sample.name in USED:
                    yield sample.name, sample.labels, sample.value
        yield "up", {}, 1.0


def live(folder: Path) -> tuple[Path, Counter[str]]:
    """Both lives, between them a new version is started."""
    config, path = folder / "exporter.yml", folder / "week.om"
    with path.open("w") as out:
        asyncio.run(Week(config, out, BEGIN, DEPLOY).live())
        labels = ",".join(f'{k}="{v}"' for k, v in LABELS.items())
        out.write(f"up{{{labels}}} 0.0 {DEPLOY + 200:.3f}\n")
        runs = asyncio.run(Week(config, out, DEPLOY + CLOSED_STEP, END).live())
        out.write("# EOF\n")
    return path, runs


def test_nobody_hears_anything(tmp_path: Path) -> None:
    """Seven days: five alerts for the journal, and none for a person."""
    for program in ("prometheus", "promtool"):
        need(program)
    path, runs = live(tmp_path)
    sessions = 4
    assert runs["end_of_day_report"] == runs["rebalance"] == runs["pre_market_scan"] == sessions
    assert runs["afternoon"] == sessions - 1  # 15:00 lies after the half day's close
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "-q", path, tmp_path / "tsdb"],
        check=True, capture_output=True,
    )  # fmt: skip
    port = free_port()
    (tmp_path / "prometheus.yml").write_text("{}")
    prometheus = [
        "prometheus", f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/tsdb", "--storage.tsdb.retention.time=50y",
        f"--query.lookback-delta={2 * CLOSED_STEP}s",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with Program(prometheus, tmp_path / "prometheus.log"):
        wait_for(lambda: answers(f"{url}/-/ready"), "Prometheus to be ready")
        fired = asyncio.run(asked(url))
    loud = [
        f"{one.name} {dict(one.labels)} {datetime.fromtimestamp(one.start, ZONE)}"
        for one in fired
        if one.severity != "info"
    ]
    assert not loud, "\n".join(loud)
    assert len(fired) == sessions


async def asked(url: str) -> list[Fired]:
    """What the rules would have fired in that week."""
    async with aiohttp.ClientSession() as client:
        prometheus = PrometheusClient(client, lambda: url)
        return list(await replay(prometheus, read_rules(RULES), BEGIN, END, 60.0))
