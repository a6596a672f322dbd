"""A holiday that somebody declares while the exporter runs."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from exporter.calendars.bars import Calendar
from exporter.calendars.closed_days import ClosedDays, DayError
from tests.unit.clocks import ManualClock
from tests.unit.tables import Changes, LibraryCalendars, table

NOON = datetime(2026, 12, 22, 12, tzinfo=ZoneInfo("America/New_York")).timestamp()
TUESDAY, THANKSGIVING = date(2026, 12, 22), date(2026, 11, 26)


class Store:
    """State in memory."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, Any]] = {}

    def kept(self, kind: str) -> dict[str, Any]:
        return self.values.get(kind, {})

    async def keep(self, kind: str, name: str, value: Any) -> None:
        self.values.setdefault(kind, {})[name] = value

    async def forget(self, kind: str, name: str) -> None:
        self.values[kind].pop(name, None)


async def loaded(**overrides: Changes) -> LibraryCalendars:
    calendars = LibraryCalendars(Path("/nonexistent"), overrides, ManualClock(NOON))
    await calendars.load(["XNYS", "24/7"])
    return calendars


async def test_a_declared_day_is_closed_at_once_after_a_restart_and_after_a_reload() -> None:
    """Until it is taken back."""
    store, calendars = Store(), await loaded()
    days = ClosedDays(store, calendars)
    assert calendars.get("XNYS").is_open(NOON)
    await days.close("XNYS", TUESDAY)
    await days.close("24/7", TUESDAY)
    assert not calendars.get("XNYS").is_open(NOON)
    assert not calendars.get("24/7").is_open(NOON)
    changes = Changes(
        closed=(date(2026, 12, 21),), open={date(2026, 12, 20): "regular"},
        early_close={date(2026, 12, 23): "13:00"}, late_open={date(2026, 12, 28): "11:00"},
    )  # fmt: skip
    calendars.apply({"XNYS": changes})
    xnys, plain = calendars.get("XNYS"), Calendar("XNYS", table("XNYS"), changes)
    assert not xnys.is_open(NOON)
    others = [date(2026, 12, day) for day in (18, 20, 21, 23, 28)]
    assert [xnys.session_on(d) for d in others] == [plain.session_on(d) for d in others]

    restarted = await loaded()
    again = ClosedDays(store, restarted)
    again.apply()
    assert not restarted.get("XNYS").is_open(NOON)
    await again.reopen("XNYS", TUESDAY)
    assert restarted.get("XNYS").is_open(NOON)
    assert not restarted.get("24/7").is_open(NOON)
    assert list(store.kept("closed_day")) == ["24/7 2026-12-22"]


async def test_what_makes_no_sense_is_refused() -> None:
    """A day that is closed anyway, an exchange that is not in use, a day that nobody declared."""
    days = ClosedDays(Store(), await loaded())
    with pytest.raises(DayError, match="XNYS has no session on 2026-11-26 anyway"):
        await days.close("XNYS", THANKSGIVING)
    with pytest.raises(KeyError):
        await days.close("XLON", TUESDAY)
    with pytest.raises(DayError, match="nobody declared XNYS closed on 2026-12-22"):
        await days.reopen("XNYS", TUESDAY)
