"""``quant-exporter digest``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from exporter.clock import Clock, SystemClock
from exporter.config import Config
from exporter.logs.digest.facts import ALERT_BUDGET, Digest, Due, Request
from exporter.logs.digest.keeping import load, save
from exporter.logs.digest.process import DigestError
from exporter.logs.digest.render import markdown, page
from exporter.logs.files import midnight
from exporter.units import parse_duration

FARTHEST_SECONDS = 3650 * 86400.0
"""Farther back there are no log files."""
Format = Literal["md", "html", "json"]


StrategiesOn = Callable[[float], Mapping[str, Mapping[str, Any]]]
"""The strategies' day as the state knows it, of the day in which a moment lies."""


class WrongUse(ValueError):  # noqa: N818 - the sentence is for the user
    """What was asked cannot be understood; the message says what to write."""


def main(
    config: Config,
    *,
    day: str | None = None,
    since: str | None = None,
    format: Format = "md",  # noqa: A002 - as the option is called
    keep: bool = False,
    due: Callable[[float, float], tuple[Due, ...]] = lambda start, end: (),
    strategies: StrategiesOn = lambda at: {},
    clock: Clock | None = None,
) -> int:
    """Print the digest of `day` (``2026-11-24``, ``yesterday``; default: today so far) or of the
    time `since` a duration ago; with `keep`, write it under the reports folder too. A day whose
    lines are gone is told by the digest that was kept of it.

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


def _made(request: Request) -> Digest:
    import duckdb

    from exporter.logs.digest.build import build

    try:
        return build(request)
    except (duckdb.Error, OSError) as error:
        # Files cannot do this to us, a full disk can.
        raise DigestError(f"the digest cannot be made: {error}") from error


def _fuller(digest: Digest, request: Request) -> Digest:
    """The digest that was kept of the day, where it was made of lines that are gone."""
    if digest.records and digest.gone_before is None:
        return digest
    kept = load(request.reports / f"digest-{request.title}.json")
    if kept is None or (
        digest.records and (kept.made_at < kept.end or kept.records < digest.records)
    ):
        return digest
    return kept


def reports_folder(config: Config) -> Path:
    """Where reports are: ``reports`` beside the state file."""
    return config.state.parent / "reports"


def asked(
    config: Config,
    *,
    day: str | None = None,
    since: str | None = None,
    due: Callable[[float, float], tuple[Due, ...]] = lambda start, end: (),
    strategies: StrategiesOn = lambda at: {},
    now: float,
) -> Request:
    """What the words mean; raises :class:`WrongUse`."""
    zone = ZoneInfo(config.timezone)
    today = datetime.fromtimestamp(now, zone).date()
    if since is not None:
        if day is not None:
            raise WrongUse("say either --day or --since")
        try:
            back = min(parse_duration(since), FARTHEST_SECONDS)
            start, end, title = now - back, now, f"last {since}"
        except ValueError as error:
            raise WrongUse(str(error)) from error
        ahead = today + timedelta(days=1)
    else:
        wanted = _day(day, today)
        start, end = midnight(wanted, zone), midnight(wanted + timedelta(days=1), zone)
        title, ahead = wanted.isoformat(), wanted + timedelta(days=1)
    tomorrow = (midnight(ahead, zone), midnight(ahead + timedelta(days=1), zone))
    return Request(
        directory=config.logs.directory,
        zone=config.timezone,
        start=start,
        end=end,
        title=title,
        reports=reports_folder(config),
        due=due(*tomorrow) if tomorrow[1] > now else (),  # of a day long ago nothing is due
        budget=ALERT_BUDGET,
        now=now,
        strategies=strategies(min(now, end - 1.0)),
    )


def _day(text: str | None, today: date) -> date:
    if text in (None, "today"):
        return today
    if text == "yesterday":
        return today - timedelta(days=1)
    try:
        return date.fromisoformat(str(text))
    except ValueError as error:
        raise WrongUse(f"{text!r} is no day; write 2026-11-24, today or yesterday") from error
