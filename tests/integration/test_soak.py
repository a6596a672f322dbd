"""A day's worst load at once, for minutes: memory stays flat, and nothing is lost.

500 slots a minute, 500 pings a second, 50 scrapers, 10,000 lines a second in a followed file that
is rotated. ``QUANT_SOAK_MINUTES`` says how long (10). What of these rates the machine made possible
is measured and reported; what counts is that all of it arrives.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.integration.pings import EXTERNAL_TASKS, Traffic, lost
from tests.integration.processes import Exporter, free_port, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.soak]

MINUTES = float(os.environ.get("QUANT_SOAK_MINUTES", "10"))
TASKS = 42
SLOT_SECONDS = 5
PINGS_PER_SECOND = 500.0
SCRAPERS = 50
SCRAPE_SECONDS = 5.0
LINES_PER_SECOND = 10_000
ROTATE_LINES = 200_000
WARM_UP = 0.25
"""Of the time: what is allocated once is allocated then."""
MOST_GROWTH_BYTES = 8_000_000
"""By the slope of all that was measured after the warm-up, over the whole of that time."""
PROBE = """\
async def coroutine(context):
    return 1

def plain():
    return 1
"""


@dataclass
class Load:
    """All that goes on at once, apart from the pings."""

    exporter: Exporter
    log: Path
    over: threading.Event = field(default_factory=threading.Event)
    lines: int = 0
    scrapes: int = 0
    failed_scrapes: int = 0
    memory: list[tuple[float, float]] = field(default_factory=list)
    """When, and the bytes of the whole process tree (PSS)."""

    def write_lines(self) -> None:
        """As a bot with a rotating log does."""
        began, in_file = time.monotonic(), 0
        file = self.log.open("a")
        while not self.over.is_set():
            owed = int((time.monotonic() - began) * LINES_PER_SECOND) - self.lines
            file.writelines(
                f"{time.time():.3f} INFO order {self.lines + n} filled at 101.25\n"
                for n in range(owed)
            )
            file.flush()
            self.lines, in_file = self.lines + owed, in_file + owed
            if in_file >= ROTATE_LINES:
                file.close()
                self.log.replace(self.log.with_name(f"{self.log.name}.1"))
                file, in_file = self.log.open("a"), 0
            self.over.wait(0.1)
        file.close()

    def measure(self) -> None:
        """Every two seconds."""
        root = psutil.Process(self.exporter.process.pid)
        while not self.over.wait(2.0):
            tree = 0
            for process in (root, *root.children(recursive=True)):
                try:
                    tree += process.memory_full_info().pss
                except psutil.NoSuchProcess:
                    continue  # a run has ended meanwhile
            self.memory.append((time.monotonic(), float(tree)))

    async def scrape(self) -> None:
        """All scrapers, each with a connection that stays open."""
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(self._scraper(session, n) for n in range(SCRAPERS)))

    async def _scraper(self, session: aiohttp.ClientSession, number: int) -> None:
        await asyncio.sleep(SCRAPE_SECONDS * number / SCRAPERS)
        while not self.over.is_set():
            try:
                async with session.get(f"{self.exporter.url}/metrics") as answer:
                    ok = answer.status == 200 and b"quant_task_runs_total" in await answer.read()
            except (aiohttp.ClientError, TimeoutError):
                ok = False
            self.scrapes += 1
            self.failed_scrapes += not ok
            await asyncio.sleep(SCRAPE_SECONDS)


def config(folder: Path, port: int) -> Path:
    """One third of the tasks each: coroutines, plain functions, commands."""
    kinds = ('run: "probe:coroutine"', 'run: "probe:plain"', 'command: ["true"]')
    tasks = "".join(
        f'  t{n:02}: {{{kinds[n % 3]}, schedule: "every {SLOT_SECONDS}s", grace: 1m}}\n'
        for n in range(TASKS)
    )
    (folder / "code").mkdir()
    (folder / "code/probe.py").write_text(PROBE)
    (folder / "bot.log").touch()
    path = folder / "exporter.yml"
    path.write_text(
        f"listen: 127.0.0.1:{port}\ncode: [code]\nlogs:\n  follow:\n"
        f"    bot: {{path: bot.log, patterns: {{errors: ERROR}}}}\n"
        f"tasks:\n{tasks}{EXTERNAL_TASKS}"
    )
    return path


@pytest.mark.timeout(MINUTES * 60 + 600)
def test_memory_is_flat_and_nothing_is_lost_under_load(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """What was accepted is in state, what was written is counted, each slot ran once."""
    port = free_port()
    with Exporter(config(tmp_path, port)).wait_ready(port) as exporter:
        load = Load(exporter, tmp_path / "bot.log")
        traffic = Traffic(exporter.url, exporter.token, random.Random(15), over=load.over)
        work = [
            threading.Thread(target=each)
            for each in (
                load.write_lines,
                load.measure,
                lambda: asyncio.run(load.scrape()),
                lambda: asyncio.run(traffic.run(PINGS_PER_SECOND)),
            )
        ]
        began, wall = time.monotonic(), time.time()
        for each in work:
            each.start()
        try:
            time.sleep(MINUTES * 60)
        finally:
            load.over.set()
            for each in work:
                each.join()
        took, ended = time.monotonic() - began, time.time()
        counted = 'quant_log_followed_lines_total{file="bot"}'
        wait_for(lambda: exporter.metrics()[counted] == load.lines, "all lines to be counted")
        due = slots_between(wall, ended)
        wait_for(lambda: newest_slot(tmp_path) >= due[-1], "the last slots to have run")
        found = exporter.metrics()
        assert exporter.stop() == 0
        assert "Traceback" not in exporter.output()
    growth = slope(load.memory, began + took * WARM_UP) * took * (1 - WARM_UP)
    megabytes = [pss / 1e6 for _, pss in load.memory]
    record_property(
        "measured",
        f"{took / 60:.1f} min: {traffic.accepted / took:.0f} pings/s, "
        f"{load.lines / took:.0f} lines/s, {load.scrapes / took:.1f} scrapes/s, "
        f"{len(due) * TASKS / took * 60:.0f} slots/min; PSS of the process tree "
        f"{statistics.median(megabytes):.0f} MB (median), slope {growth / 1e6:+.1f} MB",
    )
    assert (traffic.refused, traffic.unanswered, load.failed_scrapes) == (0, 0, 0)
    assert lost(traffic, tmp_path) == {}
    check_slots(tmp_path, due)
    # Programs that report two starts without an id overlap: that is said, and no loss.
    skipped = [f'quant_task_skipped_total{{reason="overlap",task="t{n:02}"}}' for n in range(TASKS)]
    assert {found[name] for name in skipped} == {0.0}
    lossy = ("quant_task_missed_total", "quant_log_dropped_total")
    assert [name for name, value in found.items() if name.startswith(lossy) and value] == []
    assert growth < MOST_GROWTH_BYTES, f"{growth / 1e6:.1f} MB more at the end: {megabytes}"


def slots_between(begin: float, end: float) -> list[float]:
    """The slots of every task, without those that are just being started at begin and end."""
    first = int(begin // SLOT_SECONDS + 2) * SLOT_SECONDS
    return [float(at) for at in range(first, int(end) - SLOT_SECONDS, SLOT_SECONDS)]


def newest_slot(folder: Path) -> float:
    """Of the task whose newest ended run is the oldest."""
    rows = query(
        folder, "SELECT max(slot) FROM runs WHERE outcome NOT NULL AND slot NOT NULL GROUP BY task"
    )
    return min((float(at) for (at,) in rows), default=0.0)


def check_slots(folder: Path, due: list[float]) -> None:
    """Each ran once, and well."""
    rows = query(folder, "SELECT task, slot, outcome FROM runs WHERE slot NOT NULL")
    assert len({(task, slot) for task, slot, _ in rows}) == len(rows)
    assert [row for row in rows if row[2] != "success"] == []
    ran = {(str(task), float(slot)) for task, slot, _ in rows}
    wanted = {(f"t{n:02}", slot) for n in range(TASKS) for slot in due}
    assert wanted - ran == set()


def query(folder: Path, sql: str) -> list[tuple[float | str | None, ...]]:
    """Rows of the state file."""
    db = sqlite3.connect(f"file:{folder}/var/state.db?mode=ro", uri=True)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def slope(points: list[tuple[float, float]], since: float) -> float:
    """Bytes a second, as Theil and Sen estimate it: single peaks do not count."""
    late = [point for point in points if point[0] >= since]
    return statistics.median(
        (b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.combinations(late, 2)
    )
