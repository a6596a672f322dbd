"""What goes wrong with the machine, and with the log files on it. Every row has an exporter of its
own."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from typing import Any

from exporter.runtime.machine import Disk
from tests.integration.alert_rig.exporter_faults import FROM, UNTIL, at_strike, lived
from tests.integration.alert_rig.fault import Told, after
from tests.integration.alert_rig.life import Life

FULL = Told("QuantDiskFilling", "chat", 12)


def disk(free: float, ratio: float = 0.5) -> Callable[[Life], None]:
    """So many bytes are free from now on."""

    def changes(life: Life) -> None:
        life.disk = Disk("state,logs,reports", free, ratio)

    return changes


def fills(per_minute: float, minutes: int) -> Callable[[Life], Any]:
    """A disk with 20 GB free that so many bytes a minute are written to."""
    events = [after(n, disk(20e9 - n * per_minute)) for n in range(minutes)]
    return lambda life: life.live(FROM, UNTIL, [(FROM, disk(20e9)), *events])


def disk_hangs(life: Life) -> None:
    life.disk = None


def memory_grows(life: Life) -> None:
    life.memory_bytes = 400e6


def program_takes_memory(life: Life) -> None:
    life.parts.runner._attempts.workers.memory_by_task = lambda: dict.fromkeys(
        life.parts.runner.tasks, 8 * 2**30
    )


async def program_cannot_fetch(life: Life) -> None:
    (life.folder / "bot.log").write_text("started\n")
    await life.live(FROM, UNTIL, [after(0, _fetches_fail)])


def _fetches_fail(life: Life) -> None:
    with (life.folder / "bot.log").open("a") as file:
        file.write("fetch failed: timeout\n" * 8 + "fetch ok\n" * 2)


async def log_folder_is_lost(life: Life) -> None:
    folder = life.folder / "var/log"
    shutil.rmtree(folder)
    folder.write_text("a file in its place")
    # Another thread writes, in real time: hours may pass before it notices.
    while life.parts.logging.trouble is None:
        logging.getLogger("exporter").info("a line that cannot be written")
        await asyncio.sleep(0.01)


def clock_is_wrong(life: Life) -> None:
    life.clock_error = 90.0


def clock_is_a_little_off(life: Life) -> None:
    life.clock_error = 10.0


def loop_is_blocked(life: Life) -> None:
    life.parts.metrics.gauge("quant_exporter_event_loop_lag_seconds").set(5.0)


async def errors_are_logged(life: Life) -> None:
    def written() -> float:
        return float(life.app.registry.get_sample_value(RECORDS, {"level": "error"}) or 0.0)

    before = written()
    for _ in range(150):
        logging.getLogger("exporter.task.scan").error("no bar")
    while written() < before + 150:  # another thread writes, in real time
        await asyncio.sleep(0.01)


RECORDS = "quant_log_records_total"
PATTERNS = {"fetch_failed": "fetch failed", "fetch_ok": "fetch ok"}
BOT = {"path": "bot.log", "patterns": PATTERNS, "max_failure_ratio": {"warning": "50%"}}
FAULTS = [
    lived("disk_is_nearly_full", FULL, how=at_strike(disk(2e9, 0.04))),
    # 20 GB at 120 MB a minute last less than three hours, which is known after half an hour.
    lived("disk_fills", Told("QuantDiskFilling", "chat", 42), how=fills(120e6, 60)),
    lived("disk_gets_fuller_slowly", how=fills(20e6, 60)),
    lived("deploy_writes_much_at_once", how=fills(500e6, 3)),
    lived("disk_hangs", Told("QuantDiskFilling", "chat", 14), how=at_strike(disk_hangs)),
    lived("memory_grows", Told("QuantMemoryHigh", "chat", 3), how=at_strike(memory_grows)),
    lived("program_takes_memory", Told("QuantMemoryHigh", "chat", 3),
          how=at_strike(program_takes_memory)),
    lived("clock_is_wrong", Told("QuantClockWrong", "chat", 3), how=at_strike(clock_is_wrong)),
    lived("clock_is_a_little_off", how=at_strike(clock_is_a_little_off)),
    lived("event_loop_is_blocked", Told("QuantExporterSlow", "chat", 12),
          how=at_strike(loop_is_blocked)),
    lived("errors_are_logged", Told("QuantErrorsLogged", "chat", 4),
          how=at_strike(errors_are_logged)),
    lived("program_cannot_fetch", Told("QuantLogFetchesFailing", "chat", 8),
          how=program_cannot_fetch, logs={"follow": {"bot": BOT}}),
    lived("followed_log_is_nowhere", Told("QuantLogFileUnreadable", "chat", 17), struck=FROM,
          how=at_strike(id), logs={"follow": {"bot": {**BOT, "path": "nowhere.log"}}}),
    lived("log_folder_is_lost", Told("QuantLogLinesLost", "chat", 12),
          how=at_strike(log_folder_is_lost)),
]  # fmt: skip
