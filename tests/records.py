"""A state with runs in it, their log file, and a digest: what lies behind the status page."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from exporter.config import Config, Logs, Task
from exporter.logs.digest.archive import save
from exporter.logs.digest.facts import AlertDay, ErrorGroup, LogDigest, TaskDay
from exporter.state import Claim, State
from exporter.web.tasks_view import row
from tests.runs import ended
from tests.unit.clocks import ManualClock
from tests.views import HOSTILE, NOW

DAY = "2026-11-23"
STARTED = NOW - 600.0


class Records:
    """The parts that the pages read."""

    def __init__(self, folder: Path, clock: ManualClock, state: State) -> None:
        self.clock, self.state, self.folder = clock, state, folder
        self._config = Config(
            state=folder / "state.db",
            logs=Logs(directory=folder / "log"),
            tasks={"signals": Task(command=("true",), schedule="every 5m")},
        )

    @property
    def tasks_view(self) -> SimpleNamespace:
        def one(name: str) -> dict[str, Any]:
            return row(
                name, self._config.tasks[name], self.state.tasks[name], next_slot=NOW + 300,
                deadline=NOW + 900, paused_until=None, notice="warning: chat after 1 failed run",
                running=False, now=NOW,
            )  # fmt: skip

        return SimpleNamespace(
            one=one, next_slots=lambda name, count: [NOW + 300 * n for n in range(1, count + 1)]
        )

    def config(self) -> Config:
        return self._config

    def log(self, run_id: str, *messages: str, level: str = "info") -> None:
        """Write lines of a run into today's file."""
        folder = self._config.logs.directory
        folder.mkdir(exist_ok=True)
        with (folder / "exporter-2026-11-24.jsonl").open("a") as file:
            for number, message in enumerate(messages):
                at = datetime.fromtimestamp(STARTED + number, UTC)
                file.write(
                    json.dumps(
                        {
                            "timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                            "level": level,
                            "logger": "exporter.tasks",
                            "message": message,
                            "task": "signals",
                            "run_id": run_id,
                        }
                    )
                    + "\n"
                )

    async def ran(
        self, run_id: str, outcome: str, error: str | None = None, tail: str | None = None
    ) -> None:
        """One run from claim to end."""
        await self.state.claim(Claim(run_id, "signals", None, "manual", STARTED - 1))
        await self.state.finish(
            ended(
                run_id, "signals", None, outcome,  # type: ignore[arg-type]
                started_at=STARTED, ended_at=STARTED + 4, error=error, tail=tail, items=3,
            )
        )  # fmt: skip

    def digest(self) -> None:
        """One of a day on which something happened."""
        at = datetime.fromtimestamp(NOW - 80_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        group = ErrorGroup(
            "f", "error", "exporter.tasks", "SourceError", 9, at, at, HOSTILE, "bad", new=True
        )
        task = TaskDay("signals", 64, {"error": 2}, 1, 0, 2.5, "SourceError: 503")
        made = LogDigest(
            DAY, "America/New_York", NOW - 2 * 86400, NOW - 86400, 1, 0.2, 0.1, 1204, 0, 0,
            {"info": 1190, "error": 14}, tasks=[task], errors=[group],
            alerts=[AlertDay("QuantTaskFailing", "warning", 1, 1)],
        )  # fmt: skip
        save(made, self.folder / "reports")


@asynccontextmanager
async def records(folder: Path, error: str = HOSTILE) -> AsyncIterator[Records]:
    """A failed run `bad` whose log lines would like to be markup, a good one `good`, a digest."""
    clock = ManualClock(NOW)
    state = State.open(folder / "state.db", clock)
    try:
        await state.register({"signals": "every 5m"}, NOW)
        made = Records(folder, clock, state)
        await made.ran("bad", "error", error, "the last line")
        await made.ran("good", "success")
        made.log("bad", "attempt 1 of 3", HOSTILE, "x" * 400)
        made.log("good", "attempt 1 of 1")
        made.digest()
        yield made
    finally:
        await state.close()
