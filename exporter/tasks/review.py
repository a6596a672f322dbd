"""Every night: the day's logs summed up, kept, and sent to the channels that the user chose."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from exporter.calendars import Calendar
from exporter.config import Config
from exporter.logs.digest import command
from exporter.logs.digest.facts import Digest, Due, Request
from exporter.logs.digest.keeping import load, save
from exporter.logs.digest.process import DigestError, build_apart
from exporter.logs.digest.render import headline
from exporter.logs.sending import send
from exporter.slots import slots
from exporter.tasks.context import Context
from exporter.tasks.parts import Parts

BUILD_SECONDS = 240.0


async def log_review(context: Context) -> int:
    """Sum up the day in which the task's slot lies, up to now. Returns the number of log lines.

    The day before is summed up again when its digest was made before it ended, so that the pages
    that are kept tell of whole days. Raises OSError, DigestError or TimeoutError; and, after
    everything else is done, the first channel's NotSentError.
    """
    parts: Parts = context.parts
    config, now = parts.config, context.clock.now()
    moment = context.slot if context.slot is not None else now
    day = datetime.fromtimestamp(moment, parts.zone).date()

    def due(start: float, end: float) -> tuple[Due, ...]:
        return due_between(config, parts.calendars.get, start, end)

    async def make(request: Request) -> Digest:
        digest = await build_apart(request, BUILD_SECONDS)
        save(digest, parts.reports)
        return digest

    before = command.asked(config, day=str(day - timedelta(days=1)), due=due, now=now)
    kept = load(parts.reports / f"digest-{before.title}.json")
    if kept is not None and kept.made_at < kept.end:
        await make(before)
    digest = await make(command.asked(config, day=str(day), due=due, now=now))
    context.log.info("%s", headline(digest), extra={"event": "digest", "quiet": digest.quiet})
    if digest.quiet and not config.digest.quiet:
        return digest.records
    failed = [e for e in (await send(digest, config.digest, os.environ)).values() if e]
    for error in failed[1:]:
        context.log.error("%s", error, extra={"event": "digest_not_sent"})
    if failed:
        raise failed[0]
    return digest.records


def due_between(
    config: Config, calendar: Callable[[str], Calendar], start: float, end: float
) -> tuple[Due, ...]:
    """The slots of every task in [start, end), Unix seconds; the earliest task first."""
    found = []
    for name, task in config.tasks.items():
        exchange = calendar(task.exchange) if task.exchange else None
        zone = ZoneInfo(config.timezone)
        ahead = [
            slot.at
            for slot in slots(task.timetable, zone, exchange, start - 0.001, end - 0.001)
            if slot.skip is None
        ]
        if ahead:
            found.append(Due(name, len(ahead), ahead[0]))
    return tuple(sorted(found, key=lambda due: (due.first, due.task)))


__all__ = ["DigestError", "due_between", "log_review"]
