"""What goes wrong with the exporter itself, and with what watches it. Every row has an exporter, or
a server, of its own."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any
from unittest import mock

from exporter.runner.worker import forkserver_client
from exporter.state import Claim
from tests.integration.alert_rig.fault import STRIKE, Fault, Told, after
from tests.integration.alert_rig.life import Life
from tests.integration.alert_rig.money_faults import post
from tests.integration.alert_rig.task_faults import PROGRAMS

DOWN = Told("QuantExporterDown", "phone", 4)
FROM, UNTIL = STRIKE - 20 * 60, STRIKE + 45 * 60
WELL = {"from": 0, "until": 0}
CONFIG: dict[str, Any] = {
    "timezone": "America/New_York",
    "strategies": {"money": {"max_drawdown": {"critical": "10%"}}},
    "tasks": {
        "steady": {"run": f"{PROGRAMS}:fails", "params": WELL, "schedule": "every 10m"},
    },
}
"""A small one, that does well."""


@dataclass(frozen=True)
class Lived(Fault):
    """A row that says how its exporter lives."""

    how: Callable[[Life], Any] = lambda life: None
    more: tuple[tuple[str, Any], ...] = ()

    async def live(self, folder: Path, out: IO[str]) -> None:
        """Into this file."""
        config = {**CONFIG, **dict(self.more)}
        await self.how(Life(self.name, folder / self.name, config, out))


def lived(
    name: str, *tells: Told, how: Callable[[Life], Any], struck: float = STRIKE, **more: Any
) -> Lived:
    return Lived(name, tells, struck=struck, how=how, more=tuple(more.items()))


def at_strike(action: Callable[[Life], Any]) -> Callable[[Life], Any]:
    """An exporter that lives through the fault."""
    return lambda life: life.live(FROM, UNTIL, [after(0, action)])


async def dies(life: Life) -> None:
    await life.live(FROM, STRIKE - 60)
    life.is_down(STRIKE, UNTIL)


async def dies_while_something_fires(life: Life) -> None:
    await life.live(
        FROM, STRIKE - 60, [after(-10, post("money", 100_000)), after(-5, post("money", 80_000))]
    )
    life.is_down(STRIKE, STRIKE + 15 * 60)
    await life.live(STRIKE + 16 * 60, UNTIL)


async def shows_an_empty_page(life: Life) -> None:
    await life.live(FROM, STRIKE - 60)
    life.scraped({"up": 1.0}, STRIKE, UNTIL)


async def is_deployed(life: Life) -> None:
    await life.live(FROM, STRIKE)
    life.is_down(STRIKE + 60, STRIKE + 60)
    await life.live(STRIKE + 120, UNTIL)


async def restarts_in_a_loop(life: Life) -> None:
    await life.live(FROM, STRIKE)
    for start in range(1, 14, 2):
        begin = STRIKE + start * 60
        await life.live(begin, begin + 60)


async def is_killed_in_a_run(life: Life) -> None:
    claim = Claim("run-of-before", "steady", None, "manual", STRIKE - 180)
    await life.live(FROM, STRIKE - 60, [after(-1, lambda life: life.parts.state.claim(claim))])
    life.is_down(STRIKE, STRIKE)
    await life.live(STRIKE + 60, UNTIL)


async def misses_a_slot(life: Life) -> None:
    await life.live(FROM, STRIKE + 60)
    life.is_down(STRIKE + 120, STRIKE + 180)  # over 10:35 and its grace of a minute
    await life.live(STRIKE + 240, UNTIL)


async def starts_late_within_grace(life: Life) -> None:
    await misses_a_slot(life)


async def loses_its_state(life: Life) -> None:
    await life.live(FROM, STRIKE - 60)
    database = life.folder / "var/state.db"
    database.write_bytes(b"not a database, really" + database.read_bytes()[22:])
    await life.live(STRIKE, UNTIL)


def disk_full(life: Life) -> None:
    def refuse(steps: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    life.parts.state._on_disk.writer._write = refuse


async def reload_fails(life: Life) -> None:
    (life.folder / "exporter.yml").write_text("tasks: {steady: {runs: often}}\n")
    assert await life.app._reloading.reload()


async def helper_of_workers_is_silent(life: Life) -> None:
    """As on a machine that swaps: another one is started, and nobody has to know."""
    with mock.patch.object(forkserver_client, "_ANSWER_SECONDS", 0.3):
        await life.live(FROM, UNTIL, [after(0, stops_the_helper)])


def stops_the_helper(life: Life) -> None:
    helper = life.parts.runner.helper_pid
    assert helper
    os.kill(helper, signal.SIGSTOP)


def run_cannot_be_ended(life: Life) -> None:
    """One of yesterday hangs in the kernel: the task does not start again beside it."""
    stuck = SimpleNamespace(alive=["process 4711 (python3, of trader)"], count=1)
    life.parts.runner._attempts.left._processes["trades"] = [stuck]


def servers_answer_html(life: Life) -> None:
    life.servers.down = True


async def eleven_warnings(life: Life) -> None:
    for number in range(11):
        await life.parts.alerts.journal.record("slack", warning(number))


def warning(number: int) -> dict[str, Any]:
    """What Alertmanager posts to the journal."""
    labels = {"alertname": "QuantTaskFailing", "severity": "warning", "task": f"t{number}"}
    alert = {
        "status": "firing", "labels": labels, "annotations": {}, "fingerprint": f"{number:016x}",
        "startsAt": "2025-11-26T12:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
    }  # fmt: skip
    return {
        "status": "firing", "groupKey": "{}", "groupLabels": {}, "commonLabels": labels,
        "commonAnnotations": {}, "alerts": [alert],
    }  # fmt: skip


ONCE = {"command": ["true"], "schedule": "10:35", "max_runtime": "1m"}
FAULTS = [
    lived("exporter_dies", DOWN, how=dies),
    lived("exporter_shows_an_empty_page", DOWN, how=shows_an_empty_page),
    lived("exporter_restarts_in_a_loop", Told("QuantExporterDown", "phone", 13),
          how=restarts_in_a_loop),
    lived("exporter_is_deployed", how=is_deployed),
    lived("exporter_dies_while_something_fires", Told("QuantDrawdown", "phone", 7),
          Told("QuantExporterDown", "phone", 14), how=dies_while_something_fires,
          struck=STRIKE - 600),
    lived("exporter_is_killed_in_a_run", Told("QuantTaskFailing", "chat", 4),
          how=is_killed_in_a_run),
    lived("exporter_misses_a_slot", Told("QuantTaskFailing", "phone", 8), how=misses_a_slot,
          tasks={"trades": {**ONCE, "grace": "1m", "severity": "critical"}}),
    lived("exporter_starts_late_within_grace", how=starts_late_within_grace,
          tasks={"trades": {**ONCE, "grace": "5m", "catch_up": True}}),
    lived("state_is_lost", Told("QuantStateUnhealthy", "phone", 3), how=loses_its_state),
    lived("state_cannot_be_written", Told("QuantStateUnhealthy", "phone", 8),
          Told("QuantTaskFailing", "chat", 19), how=at_strike(disk_full)),
    lived("helper_of_workers_is_silent", how=helper_of_workers_is_silent,
          tasks={"trades": {**ONCE, "severity": "critical"}}),
    lived("run_cannot_be_ended", Told("QuantTaskFailing", "phone", 7),
          how=at_strike(run_cannot_be_ended),
          tasks={"trades": {**ONCE, "grace": "1m", "severity": "critical"}}),
    lived("reload_is_refused", Told("QuantConfigReloadFailed", "chat", 2),
          how=at_strike(reload_fails)),
    lived("acks_are_not_kept", Told("QuantAlertSyncFailing", "chat", 8),
          how=at_strike(servers_answer_html)),
    lived("budget_of_warnings", Told("QuantAlertBudgetExceeded", "chat", 8),
          how=at_strike(eleven_warnings)),
]  # fmt: skip
