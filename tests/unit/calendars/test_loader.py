"""Loading: cached tables, a subprocess for the library, clear errors."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from exporter.calendars.loader import CalendarError, Calendars
from tests.unit.clocks import ManualClock
from tests.unit.tables import Changes

NOVEMBER_24 = 1795532400.0  # 2026-11-24 15:00 UTC


async def test_built_once_then_read_from_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second start needs no subprocess; a broken file is built anew."""
    clock = ManualClock(NOVEMBER_24)
    first = Calendars(tmp_path, {}, clock)
    await first.load(["XSHG", "FX", "24/7"])
    assert first.names == ["24/7", "FX", "XSHG"]
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    second = Calendars(tmp_path, {"XSHG": Changes(closed=(date(2026, 11, 25),))}, clock)
    await second.load(["XSHG"])
    assert first.get("XSHG").session_on(date(2026, 11, 25))
    assert not second.get("XSHG").session_on(date(2026, 11, 25))
    second.apply({})
    assert second.get("XSHG").session_on(date(2026, 11, 25))
    monkeypatch.undo()
    (file,) = tmp_path.iterdir()
    file.write_text("{")
    await Calendars(tmp_path, {}, clock).load(["XSHG"])
    assert json.loads(file.read_text())["zone"] == "Asia/Shanghai"


async def test_the_end_of_a_calendar_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In December the log names Shanghai's end and what to do, and once it is over, too."""
    clock = ManualClock(NOVEMBER_24 + 20 * 86400)
    calendars = Calendars(tmp_path, {}, clock)
    with caplog.at_level(logging.WARNING):
        await calendars.load(["XSHG"])
        assert "XSHG ends 2026-12-31T16:00:00Z" in caplog.text
        clock.advance(30 * 86400)
        await calendars.refresh()
    assert "XSHG ended 2026-12-31T16:00:00Z" in caplog.text
    assert calendars.get("XSHG").session_on(date(2027, 1, 4))


async def test_what_the_library_cannot_build_is_named(tmp_path: Path) -> None:
    """An exchange without a table stops the load with its name and a way out."""
    with pytest.raises(CalendarError, match=r"calendar of NOPE cannot be built.*Choose another"):
        await Calendars(tmp_path, {}, ManualClock(NOVEMBER_24)).load(["NOPE"])


def test_the_daemon_never_imports_pandas(tmp_path: Path) -> None:
    """Loading XNYS leaves pandas and the library out of the process."""
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from exporter.calendars.loader import Calendars\n"
        "from exporter.util.clock import SystemClock\n"
        f"c = Calendars(Path({str(tmp_path)!r}), {{}}, SystemClock())\n"
        "asyncio.run(c.load(['XNYS'])); c.get('XNYS').next_open(0)\n"
        "import exporter.config\n"
        "bad = {'pandas', 'numpy', 'exchange_calendars'} & set(sys.modules)\n"
        "sys.exit(f'imported {bad}' if bad else 0)\n"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
