"""Pages linked from the status page: one run with its log, a day's digest, a week's review.

Files are read in a thread, one reader at a time and for a limited time, so that neither the event
loop nor a scrape waits for them.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from aiohttp import web

from exporter.config import Config
from exporter.config.paths import reports_folder
from exporter.logs.digest.archive import load
from exporter.logs.digest.sections import headline, sections
from exporter.logs.reader import Record
from exporter.logs.run_lines import lines_of_run, readable_lines
from exporter.state import Run, StateError
from exporter.web.status.board_links import board_of
from exporter.web.status.page_parts import RecordParts
from exporter.web.status.rows import run_row
from exporter.web.status.templating import detail_page, nothing_there

PATIENCE_SECONDS = 10.0
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_T = TypeVar("_T")


class Records:
    """The handlers."""

    def __init__(self, parts: RecordParts, patience: float = PATIENCE_SECONDS) -> None:
        self._parts, self._patience = parts, patience
        self._reading = asyncio.Semaphore(1)

    def routes(self) -> list[web.RouteDef]:
        """To be mounted; they only read."""
        return [
            web.get("/runs/{run_id}", self.run),
            web.get("/digests/{day}", self.digest),
            web.get("/reviews/{day}", self.review),
        ]

    async def run(self, request: web.Request) -> web.Response:
        """One run and the lines that it logged."""
        config, run_id = self._parts.config(), request.match_info["run_id"]
        try:
            run = await self._parts.state.history.run(run_id)
        except StateError as error:
            return nothing_there(self._parts, 503, str(error))
        if run is None:
            return nothing_there(
                self._parts, 404, f"There is no run {run_id}. Runs are kept for 90 days."
            )
        text, note = await self._log_of(run, config)
        row = run_row(run)
        ended = row.started + row.duration
        board = board_of(config.alerts, "task", run.task, began=row.started, ended=ended)
        return detail_page(
            self._parts,
            "run.html",
            run=row,
            board=board,
            why=run.trigger,
            params=run.params,
            output=run.tail,
            log=text,
            note=note,
        )

    async def _log_of(self, run: Run, config: Config) -> tuple[str, str]:
        """The lines, and a note when some may be missing."""
        zone = ZoneInfo(config.timezone)
        start = run.started_at if run.started_at is not None else run.claimed_at
        directory, run_id, end = config.logs.directory, run.run_id, run.ended_at

        def read() -> str:
            records = lines_of_run(directory, zone, run_id, start, end)
            return readable_lines(map(_without_output, records), zone)

        try:
            text = await self._in_thread(read)
        except TimeoutError:
            return "", "Reading the log takes too long; try again later."
        except OSError as error:
            return "", f"The log cannot be read: {error.strerror or error}"
        if text:
            return text, ""
        if run.tail:
            return "", "The log files of that time were deleted."
        return "", "The run logged nothing, or the log files of that time were deleted."

    async def digest(self, request: web.Request) -> web.Response:
        """One nightly digest."""
        day = request.match_info["day"]
        folder = reports_folder(self._parts.config())
        if not _DAY.fullmatch(day):
            return nothing_there(self._parts, 404, "Write the day of a digest as 2026-11-24.")
        found, days, backtests = await self._in_thread(
            lambda: (
                load(folder / f"digest-{day}.json"),
                _days(folder),
                (folder / f"backtest-{day}.html").exists(),
            )
        )
        if found is None:
            return nothing_there(self._parts, 404, f"There is no digest of {day}.")
        given = {"headline": headline(found), "sections": sections(found), "backtests": backtests}
        return detail_page(self._parts, "digest.html", day=day, days=days, **given)

    async def review(self, request: web.Request) -> web.Response:
        """The week that begins with a day, as `weekly_review` wrote it."""
        day, folder = request.match_info["day"], reports_folder(self._parts.config())
        if not _DAY.fullmatch(day):
            return nothing_there(self._parts, 404, "Write the first day of a week as 2026-11-23.")
        found, days = await self._in_thread(lambda: (_review(folder, day), reviews(folder)))
        if found is None:
            return nothing_there(self._parts, 404, f"There is no review of the week from {day}.")
        return detail_page(self._parts, "review.html", review=found, day=day, days=days)

    async def _in_thread(self, read: Callable[[], _T]) -> _T:
        """Raises :class:`TimeoutError`; the thread then keeps its slot until it ends by itself."""
        await asyncio.wait_for(self._reading.acquire(), self._patience)
        work = asyncio.ensure_future(asyncio.to_thread(read))
        work.add_done_callback(lambda _: self._reading.release())
        return await asyncio.wait_for(asyncio.shield(work), self._patience)


def _without_output(record: Record) -> Record:
    """The line that says how the run ended, without the output below it: the page shows that."""
    if record.get("event") != "run_ended":
        return record
    return {**record, "message": str(record.get("message", "")).partition("\n")[0]}


def _review(folder: Path, day: str) -> dict[str, Any] | None:
    """What the task kept of a week; None when it is not there or cannot be read."""
    for path in sorted(folder.glob(f"weekly_review*-{day}.json")):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(found, dict) and {"from", "to", "summary", "tables"} <= set(found):
            return found
    return None


def reviews(folder: Path) -> list[str]:
    """The first days of the newest weeks that have a review, newest first."""
    names = (path.stem[-10:] for path in folder.glob("weekly_review*.json"))
    return sorted({name for name in names if _DAY.fullmatch(name)}, reverse=True)[:14]


def _days(folder: Path) -> list[str]:
    """The newest days that have a digest, newest first."""
    names = (path.stem.removeprefix("digest-") for path in folder.glob("digest-*.json"))
    return sorted((name for name in names if _DAY.fullmatch(name)), reverse=True)[:14]
