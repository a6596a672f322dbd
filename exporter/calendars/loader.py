"""The calendars of the exchanges in use, built in a short subprocess and cached in a folder.

The daemon never imports exchange_calendars (see :mod:`exporter.calendars.build_tables`). A table is
rebuilt when the library's version changed, or when its end is near and the library may know more.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from exporter.calendars.bars import Calendar
from exporter.calendars.overrides import DayOverrides, Overrides
from exporter.calendars.sessions import ALWAYS, FX, Session, Table
from exporter.util.atomic import private_folder
from exporter.util.atomic import write as write_file
from exporter.util.clock import Clock, iso, utc

__all__ = ["EXCHANGES", "Calendar", "CalendarError", "Calendars", "Session"]

log = logging.getLogger(__name__)

_FORMAT = 2
_ROOT = Path(__file__).resolve().parents[2]
_RENEW_BEFORE = timedelta(days=300)
_BUILD_TIMEOUT_SECONDS = 120.0
_FEWEST_A_PROCESS = 4
"""A process spends as long on its imports as on four tables."""
_LONGEST_TABLE = 1 << 20
Progress = Callable[[int, int], None]
"""How many tables are built, of how many."""
_OURS: Mapping[str, Table] = {"FX": FX, "24/7": ALWAYS}

EXCHANGES: frozenset[str] = frozenset(
    """
    24/5 24/7 AIXK ARCX ASEX ASX BATS BMF BSE BVB BVMF CBOT CFE CME CMES COMEX FWB FX HKEX ICE
    ICEUS IEPA JKT JPX LSE LUXSE NASDAQ NYFE NYMEX NYSE OOTC OSE SIX SSE TASE TSX XAMS XASE XASX
    XBDA XBEL XBKK XBOG XBOM XBRA XBRU XBSE XBUD XBUE XCBF XCSE XCYS XDUB XDUS XEEE XETR XEUR
    XFRA XHAM XHEL XHKG XICE XIDX XIST XJSE XKAR XKLS XKRX XLIM XLIS XLIT XLJU XLON XLUX XMAD
    XMEX XMIL XMOS XNAS XNYS XNZE XOSL XPAR XPHS XPRA XRIS XSAU XSES XSGO XSHG XSTO XSTU XSWX
    XTAE XTAI XTAL XTKS XTSE XTSX XWAR XWBO XZAG us_futures
    """.split()  # noqa: SIM905 - seventy quoted names read worse
)
"""Every calendar name that a config may use: those of exchange_calendars with their aliases, FX
and 24/7. A constant, because asking the library would cost 50 MB in the daemon."""


class CalendarError(Exception):
    """Calendars are not available; the message says which, why, and what to do. `problems` has the
    reason of each."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        super().__init__(
            "; ".join(f"cannot build the calendar of {n}: {why}" for n, why in problems.items())
            + ". Choose another exchange, or another version of exchange-calendars and pandas"
        )


class Calendars:
    """Calendars by name, with the user's overrides."""

    def __init__(
        self,
        cache_dir: Path,
        overrides: Mapping[str, Overrides],
        clock: Clock,
        own: Mapping[str, Table] | None = None,
        *,
        also: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Tables are kept in `cache_dir`, and found in `also` too. `progress` hears of each that
        was built."""
        self._folder = cache_dir
        self._also = also
        self._progress = progress or (lambda done, of: None)
        self._overrides = dict(overrides)
        self._closed: dict[str, frozenset[date]] = {}
        self._clock = clock
        self._own: Mapping[str, Table] = {**_OURS, **(own or {})}
        self._tables: dict[str, Table] = dict(self._own)
        self._loaded: dict[str, Calendar] = {}

    @property
    def names(self) -> list[str]:
        """The calendars that are loaded, sorted."""
        return sorted(self._loaded)

    def get(self, name: str) -> Calendar:
        """A calendar that :meth:`load` was asked for. Raises :class:`KeyError` otherwise."""
        return self._loaded[name]

    def apply(
        self, overrides: Mapping[str, Overrides], own: Mapping[str, Table] | None = None
    ) -> None:
        """Use the overrides and own exchanges of a new config, in loaded calendars too."""
        self._overrides = dict(overrides)
        for name in self._own:
            del self._tables[name]
        self._own = {**_OURS, **(own or {})}
        self._tables |= self._own
        self._loaded = {n: self._calendar(n) for n in self._loaded if n in self._tables}

    def close(self, closed: Mapping[str, Iterable[date]]) -> None:
        """Days that are closed in addition to the overrides, in loaded calendars too. They replace
        those of the call before."""
        self._closed = {name: frozenset(days) for name, days in closed.items()}
        self._loaded = {name: self._calendar(name) for name in self._loaded}

    async def load(self, names: Iterable[str], own: Mapping[str, Table] | None = None) -> None:
        """Have these calendars ready; those that the cache lacks are built in a subprocess. `own`
        are exchanges that :meth:`apply` will bring.

        An outdated table goes on serving when no new one can be built. Raises
        :class:`CalendarError` for those that have none at all; the others are loaded.
        """
        names = sorted(set(names))
        self._tables = {**(own or {}), **self._tables}
        lacking = await self._ensure(names)
        for name in names:
            if name in lacking:
                continue
            fresh = name not in self._loaded
            self._loaded[name] = self._calendar(name)
            if fresh:
                self._warn_of_end(self._loaded[name])
        if lacking:
            raise CalendarError(lacking)

    async def refresh(self) -> None:
        """Renew tables that end soon. To be called daily; never raises for an old table."""
        await self._ensure(self.names)
        for name in self.names:
            self._loaded[name] = self._calendar(name)
            self._warn_of_end(self._loaded[name])

    def _calendar(self, name: str) -> Calendar:
        closed = sorted(self._closed.get(name, ()))
        overrides = DayOverrides.merged(self._overrides.get(name), closed)
        return Calendar(name, self._tables[name], overrides)

    def _warn_of_end(self, calendar: Calendar) -> None:
        now = self._clock.now()
        if calendar.end - now > 30 * 86400:
            return
        log.warning(
            "The calendar of %s %s %s: after that, weekdays count as trading days. Update "
            "exchange-calendars, or list holidays in calendar_overrides.%s.closed",
            calendar.name,
            "ended" if calendar.end <= now else "ends",
            iso(calendar.end),
            calendar.name,
            extra={"event": "calendar_end", "exchange": calendar.name},
        )

    async def _ensure(self, names: Iterable[str]) -> dict[str, str]:
        """Have tables for these; returns why there is none, for those that lack one."""
        today = utc(self._clock.now()).date()
        wanted = []
        for name in names:
            if name in _OURS or (name in self._tables and name not in EXCHANGES):
                continue  # not the library's
            cached = await asyncio.to_thread(self._read, name, today)
            if cached:
                self._tables[name] = _table(cached)
            if not cached or _is_outdated(cached, today):
                wanted.append(name)
        return await self._renew(wanted, today) if wanted else {}

    async def _renew(self, wanted: list[str], today: date) -> dict[str, str]:
        log.info("Building the calendars of %s, once", ", ".join(wanted))
        problems = {}
        done = 0
        async for name, built in _build(wanted, today):
            if "error" in built:
                problems[name] = str(built["error"])
            else:
                self._tables[name] = _table(built)
                await asyncio.to_thread(self._write, name, built)
            done += 1
            self._progress(done, len(wanted))
        lacking = {n: why for n, why in problems.items() if n not in self._tables}
        for name, problem in problems.items():
            if name in lacking:
                continue
            log.warning(
                "The calendar of %s could not be renewed, the old one is still used: %s",
                name,
                problem,
                extra={"event": "calendar_not_renewed", "exchange": name},
            )
        return lacking

    def _read(self, name: str, today: date) -> dict[str, Any] | None:
        """The kept table, an outdated one too if there is no other."""
        kept = [_kept(folder, name) for folder in (self._folder, self._also) if folder]
        return next(
            (data for data in kept if data and not _is_outdated(data, today)),
            next(filter(None, kept), None),
        )

    def _write(self, name: str, data: dict[str, Any]) -> None:
        stamped = {**data, "format": _FORMAT, "version": version("exchange_calendars")}
        try:
            private_folder(self._folder)
            text = json.dumps(stamped, separators=(",", ":"))
            write_file(_file(self._folder, name), text, mode=0o644)
        except OSError as error:
            # Without a cache the next start takes a second longer, nothing else.
            log.warning(
                "Cannot cache calendars in %s: %s",
                self._folder,
                error.strerror,
                extra={"event": "calendar_not_cached"},
            )


def _file(folder: Path, name: str) -> Path:
    return folder / f"calendar-{name.replace('/', '-')}.json"


def _kept(folder: Path, name: str) -> dict[str, Any] | None:
    try:
        data = json.loads(_file(folder, name).read_text(encoding="utf-8"))
        _table(data)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # missing or broken: it is rebuilt
    return data if isinstance(data, dict) and data.get("format") == _FORMAT else None


def _is_outdated(data: Mapping[str, Any], today: date) -> bool:
    if data.get("version") != version("exchange_calendars"):
        return True
    return not data["complete"] and date.fromisoformat(data["last"]) - today < _RENEW_BEFORE


def _table(data: Mapping[str, Any]) -> Table:
    return Table(
        zone=data["zone"],
        first=date.fromisoformat(data["first"]),
        last=date.fromisoformat(data["last"]),
        shapes=[(s[0], s[1], s[2], s[3], s[4], s[5]) for s in data["shapes"]],
        regular=tuple(data["regular"]),
        days=data["days"],
    )


async def _build(names: list[str], today: date) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Each table as soon as it is built, by a process for each processor."""
    workers = min(os.cpu_count() or 1, -(-len(names) // _FEWEST_A_PROCESS))
    built: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
    shares = [names[n::workers] for n in range(workers)]
    building = [asyncio.create_task(_build_some(share, today, built)) for share in shares]
    try:
        for _ in names:
            yield await built.get()
    finally:
        for task in building:
            task.cancel()
        await asyncio.gather(*building, return_exceptions=True)


async def _build_some(
    names: list[str], today: date, built: asyncio.Queue[tuple[str, dict[str, Any]]]
) -> None:
    """Build these in one process; every name comes out, with a table or with an error."""
    left = list(names)
    process = None
    why = "the process ended early"
    try:
        process = await _builder(names, today)
        async with asyncio.timeout(_BUILD_TIMEOUT_SECONDS):
            errors = asyncio.create_task(_all(process.stderr))
            while left and (line := await _line(process.stdout)):
                table = json.loads(line)
                left.remove(table["name"])
                built.put_nowait((table["name"], table))
            why = ((await errors).decode(errors="replace").strip().splitlines() or [why])[-1]
    except TimeoutError:
        why = "timed out"
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"
    finally:
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        for name in left:
            built.put_nowait((name, {"name": name, "error": why}))


async def _builder(names: list[str], today: date) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "exporter.calendars.build_tables",
        "--today",
        today.isoformat(),
        *names,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        limit=_LONGEST_TABLE,
    )


async def _line(pipe: asyncio.StreamReader | None) -> bytes:
    return await pipe.readline() if pipe else b""


async def _all(pipe: asyncio.StreamReader | None) -> bytes:
    return await pipe.read() if pipe else b""
