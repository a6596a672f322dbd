"""``quant-exporter digest``."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from exporter.calendars.loader import CalendarError
from exporter.cli.progress import working
from exporter.cli.with_config import complain, with_config
from exporter.config import Config
from exporter.config.exchanges import make_calendars
from exporter.config.paths import cache_folder
from exporter.logs.digest.archive import load, save
from exporter.logs.digest.facts import DueSlots, LogDigest, Request
from exporter.logs.digest.process import DigestError
from exporter.logs.digest.render import markdown, page
from exporter.logs.digest.request import StrategiesOn, WrongUse, asked
from exporter.state import State, StateError
from exporter.tasks.builtin.beyond_logs import due_between, strategies_on
from exporter.util.clock import Clock, SystemClock

Format = Literal["md", "html", "json"]


def digest(
    path: Path,
    *,
    day: str | None,
    since: str | None,
    format: Format,  # noqa: A002 - as the option is called
    keep: bool,
) -> int:
    """What the logs of a day, or of the time since, say; with what is due the day after."""

    def call(config: Config) -> int:
        clock = SystemClock()
        calendars = make_calendars(config, clock, cache_folder(config))

        def due(start: float, end: float) -> tuple[DueSlots, ...]:
            try:
                asyncio.run(calendars.load(config.exchanges_in_use))
            except (CalendarError, OSError) as error:
                complain(f"what is due tomorrow is not known: {error}")
                return ()
            return due_between(config, calendars.get, start, end)

        def strategies(at: float) -> dict[str, dict[str, Any]]:
            try:
                kept = State.open(config.state, clock, writer=False).kept("strategy")
            except StateError:  # no exporter has run here yet, or its file is not for us to read
                return {}
            return strategies_on(config, kept, at)

        return main(
            config, day=day, since=since, format=format, keep=keep, due=due,
            strategies=strategies, clock=clock,
        )  # fmt: skip

    return with_config(path, call, tolerant=True)


def main(
    config: Config,
    *,
    day: str | None = None,
    since: str | None = None,
    format: Format = "md",  # noqa: A002 - as the option is called
    keep: bool = False,
    due: Callable[[float, float], tuple[DueSlots, ...]] = lambda start, end: (),
    strategies: StrategiesOn = lambda at: {},
    clock: Clock | None = None,
) -> int:
    """Print the digest of `day` (``2026-11-24``, ``yesterday``; default: today so far) or of the
    time `since` a duration ago; with `keep`, write it under the reports folder too. A day whose
    lines are gone is shown from the digest that was kept of it.

    `due` lists what lies ahead between two moments. Exit status: 0, 1 when it cannot be made or
    kept, 2 for wrong use.
    """
    now = (clock or SystemClock()).now()
    try:
        request = asked(config, day=day, since=since, due=due, strategies=strategies, now=now)
    except WrongUse as error:
        print(error, file=sys.stderr)
        return 2
    try:
        digest = _made(request)
    except DigestError as error:
        print(error, file=sys.stderr)
        return 1
    if since is None:
        digest = _fuller(digest, request)
    match format:
        case "json":  # in ASCII: what stands in log lines must not reach a terminal
            print(json.dumps(digest.to_json(), indent=2))
        case "html":
            print(page(digest), end="")
        case _:
            print(markdown(digest), end="")
    if keep:
        try:
            save(digest, request.reports)
        except OSError as error:
            print(f"the digest cannot be kept: {error}", file=sys.stderr)
            return 1
    return 0


def _made(request: Request) -> LogDigest:
    import duckdb

    from exporter.logs.digest.build import build
    from exporter.logs.digest.read_share import ReadShare

    reading = ReadShare()
    try:
        with working("reading the logs", share=lambda: reading.share):
            return build(request, reading)
    except (duckdb.Error, OSError) as error:
        # Files cannot do this to us, a full disk can.
        raise DigestError(f"the digest cannot be made: {error}") from error


def _fuller(digest: LogDigest, request: Request) -> LogDigest:
    """The digest that was kept of the day, where it was made of lines that are gone."""
    if digest.records and digest.gone_before is None:
        return digest
    kept = load(request.reports / f"digest-{request.title}.json")
    if kept is None or (
        digest.records and (kept.made_at < kept.end or kept.records < digest.records)
    ):
        return digest
    return kept
