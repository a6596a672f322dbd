"""Every night: the day's logs summed up, kept, and sent to the channels that the user chose."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime, timedelta

from exporter.logs.digest.archive import load, save
from exporter.logs.digest.facts import DueSlots, LogDigest, Request
from exporter.logs.digest.process import DigestError, build_apart
from exporter.logs.digest.request import asked
from exporter.logs.digest.sections import headline, sections
from exporter.logs.files import files_of
from exporter.messages.message import ChannelMessage, MessageTable
from exporter.tasks.builtin.beyond_logs import due_between, strategies_on
from exporter.tasks.builtin.parts import parts_of, send_report
from exporter.tasks.context import Context
from exporter.util.local_time import midnight

BUILD_SECONDS = 240.0
WAIT_SECONDS = 150.0
LAST_LINES_SECONDS = 1.0
"""After midnight, for what is on its way to the file."""
LEAST_SECONDS = 60.0
"""What the summing up itself is given at least."""
NOON = 12
"""The hour."""


async def log_review(context: Context) -> int:
    """Sum up the day of the task's slot. Returns the number of log lines.

    A slot before noon is about the day before. One in the last two minutes of the day waits for its
    end, so that nothing of the day is left out. The day before that is summed up too if nobody has,
    or not after it ended: the pages that are kept are of whole days. A channel that has received
    this slot's digest does not get it again when the run is repeated. Raises OSError, DigestError
    or TimeoutError.
    """
    parts = parts_of(context)
    config = parts.config
    moment = context.slot if context.slot is not None else context.clock.now()
    local = datetime.fromtimestamp(moment, parts.zone)
    day = local.date()
    if context.slot is not None and local.hour < NOON:
        day -= timedelta(days=1)  # "00:05", or early: a night's few hours are not a day
    end = midnight(day + timedelta(days=1), parts.zone)
    await parts.strategies.refresh()
    curves = strategies_on(config, parts.state.kept("strategy"), min(moment, end - 1.0))
    await _wait_for(end, context)
    now = context.clock.now()

    def due(start: float, end: float) -> tuple[DueSlots, ...]:
        return due_between(config, parts.calendars.get, start, end)

    async def make(request: Request) -> LogDigest:
        digest = await build_apart(request, BUILD_SECONDS)
        save(digest, parts.reports)
        return digest

    before = asked(config, day=str(day - timedelta(days=1)), due=due, now=now)
    if _is_missing(before):
        await make(before)
    digest = await make(asked(config, day=str(day), due=due, strategies=lambda at: curves, now=now))
    context.log.info("%s", headline(digest), extra={"event": "digest", "quiet": digest.quiet})
    if not (digest.quiet and not config.digest.quiet):
        backtests = (parts.reports / f"backtest-{digest.title}.html").exists()
        address = f"{config.public_url}/backtests/{digest.title}" if backtests else ""
        await send_report(context, _message(digest, address), digest.title)
    return digest.records


async def _wait_for(end: float, context: Context) -> None:
    """Until the day is over and its last lines are written, if that is soon and time allows."""
    parts = parts_of(context)
    left = end + LAST_LINES_SECONDS - context.clock.now()
    task = parts.config.tasks.get(context.task)
    if context.slot is None or left > WAIT_SECONDS:
        return
    if task is not None and task.timeout < left + LEAST_SECONDS:
        context.log.warning(
            "what is logged until midnight will be missing: give the task a timeout of 10m",
            extra={"event": "digest_early"},
        )
        return
    while (left := end + LAST_LINES_SECONDS - context.clock.now()) > 0:  # noqa: ASYNC110 - a clock
        await asyncio.sleep(min(left, 1.0))


def _is_missing(request: Request) -> bool:
    """Whether a past day has lines but no digest of all of it."""
    kept = load(request.reports / f"digest-{request.title}.json")
    if kept is not None:
        return kept.made_at < kept.end
    return any(
        file.day.isoformat() == request.title for file in files_of(request.directory, "exporter")
    )


def _message(digest: LogDigest, backtests: str) -> ChannelMessage:
    """The headline, the day's tables, and the address of the day's report of backtests, if any."""
    tables = [
        MessageTable(section.title, section.head, section.rows, section.note)
        for section in sections(digest)
    ]
    short = re.split(r"[.;] ", headline(digest))[0].rstrip(".")
    links = [f"Backtests: {backtests}"] if backtests else []
    return ChannelMessage(f"Digest {short}", [headline(digest), *tables, *links])


__all__ = ["DigestError", "log_review"]
