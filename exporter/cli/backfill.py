"""``quant-exporter run-task`` for slots of the past: one of them, or a range, one by one."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from exporter.cli import client
from exporter.cli.run_result import items_text, wait_for_end
from exporter.cli.text_table import slot_times
from exporter.cli.with_config import complain
from exporter.config import Config
from exporter.util.own_command import own_command
from exporter.util.printable import clean
from exporter.util.units import format_duration

_BUSY_SECONDS = 1.0


@dataclass(frozen=True)
class Backfill:
    """What was asked for. `first` and `last` are days or moments as they were typed."""

    task: str
    first: str
    last: str
    params: Mapping[str, Any]
    again: bool
    keep_going: bool

    def command(self, first: str) -> str:
        """What runs the rest."""
        words = ["run-task", self.task, "--from", first, "--to", self.last]
        for name, value in self.params.items():
            words += ["--param", f"{name}={value}"]
        words += ["--again"] * self.again + ["--keep-going"] * self.keep_going
        return f"{own_command()} {shlex.join(words)}"


def slots_of(config: Config, task: str, first: str, last: str) -> list[dict[str, Any]]:
    """The task's slots from one day or moment to another, with what became of each."""
    asked = urlencode({"from": first, "to": last})
    found = client.call(config, "GET", f"/api/v1/tasks/{task}/slots?{asked}")["slots"]
    return list(found)


def backfill(config: Config, wanted: Backfill) -> int:
    """Run each slot that has no success yet, the oldest first; 0 when all have one in the end."""
    slots = slots_of(config, wanted.task, wanted.first, wanted.last)
    if not slots:
        complain(f"{wanted.task} has no slot from {wanted.first} to {wanted.last}")
        return 2
    return _Rest(config, wanted, slots).run()


class _Rest:
    """The slots one by one, with a line for each."""

    def __init__(self, config: Config, wanted: Backfill, slots: list[dict[str, Any]]) -> None:
        self._config, self._wanted, self._slots = config, wanted, slots
        self._zone = ZoneInfo(config.timezone)
        self._counts = {"success": 0, "already": 0, "failed": 0}
        self._now = 0

    def run(self) -> int:
        going = ""
        try:
            for number, slot in enumerate(self._slots):
                self._now, going = number, ""
                if slot["outcome"] == "success" and not self._wanted.again:
                    self._say(slot, f"success already (run {slot['run_id']})")
                    self._counts["already"] += 1
                    continue
                going = "; a run that it has just started continues"
                run_id = self._start(slot)
                going = f"; run {run_id} continues"
                run = wait_for_end(self._config, self._wanted.task, run_id)
                if not self._ended(slot, run) and not self._wanted.keep_going:
                    self._say_how_to_go_on("stopped at the first failure")
                    return 1
        except KeyboardInterrupt:
            self._say_how_to_go_on(f"stopped{going}")
            return 130
        except (client.NotRunningError, client.RequestRefusedError) as error:
            self._say_how_to_go_on(f"stopped: {error}")
            return 1
        print(self._sum())
        return 1 if self._counts["failed"] else 0

    def _start(self, slot: Mapping[str, Any]) -> str:
        """The id of its run: one that is under way already is waited for."""
        if slot["run_id"] and slot["outcome"] is None:
            return str(slot["run_id"])
        body = {"slot": slot["slot"], "params": self._wanted.params, "again": self._wanted.again}
        while True:
            try:
                path = f"/api/v1/tasks/{self._wanted.task}/run"
                return str(client.call(self._config, "POST", path, body)["run_id"])
            except client.RequestRefusedError as error:
                if "is running already" not in str(error):
                    raise
            time.sleep(_BUSY_SECONDS)  # a slot of its schedule goes first

    def _ended(self, slot: Mapping[str, Any], run: Mapping[str, Any]) -> bool:
        took = format_duration(run["ended_at"] - run["started_at"])
        text = f"{run['outcome']} after {took}{items_text(run['items'])}"
        if why := run["error"] or run.get("message"):
            text += f": {clean(why)}"
        self._say(slot, text)
        good = bool(run["outcome"] == "success")
        self._counts["success" if good else "failed"] += 1
        return good

    def _say(self, slot: Mapping[str, Any], text: str) -> None:
        when = slot_times([slot["slot"]], self._zone)
        print(f"[{self._now + 1}/{len(self._slots)}] {when}: {text}", flush=True)

    def _say_how_to_go_on(self, why: str) -> None:
        complain(f"{why}; {self._sum()}")
        at = self._slots[self._now]["slot"]
        complain(f"to go on: {self._wanted.command(typed(at, self._zone))}")

    def _sum(self) -> str:
        counts = ", ".join(f"{number} {word}" for word, number in self._counts.items() if number)
        return f"{len(self._slots)} slots: {counts or 'none done'}"


def typed(at: float, zone: ZoneInfo) -> str:
    """A slot as it can be typed."""
    return datetime.fromtimestamp(at, zone).isoformat(timespec="seconds")
