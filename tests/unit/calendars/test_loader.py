"""Loading: cached tables, a subprocess for the library, clear errors."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, date, timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.calendars import loader
from exporter.calendars.loader import CalendarError, Calendars
from exporter.util.local_time import midnight
from tests.unit.clocks import ManualClock
from tests.unit.tables import Changes

NOVEMBER_24 = 1795532400.0  # 2026-11-24 15:00 UTC


async def test_built_once_then_read_from_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second start needs no subprocess; a broken file is rebuilt."""
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


async def test_the_end_of_a_calendar_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In December the log names Shanghai's end and what to do, and again once it is over."""
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
    with pytest.raises(CalendarError, match=r"cannot build the calendar of NOPE.*Choose another"):
        await Calendars(tmp_path, {}, ManualClock(NOVEMBER_24)).load(["NOPE"])


class Library:
    """Stands in for the subprocess: notes what is asked of it, and when."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[list[str], date]] = []
        self.problem = ""
        monkeypatch.setattr(loader, "_build", self.build)

    async def build(
        self, names: list[str], today: date
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        self.asked.append((names, today))
        for name in names:
            yield name, self.table(name, today)

    def table(self, name: str, today: date) -> dict[str, Any]:
        """What the library says of one exchange."""
        if self.problem:
            return {"name": name, "error": self.problem}
        # Each table is good for two more years, but Shanghai's, which is all there is.
        last = SHANGHAI_ENDS if name == "XSHG" else today + timedelta(760)
        return {
            "name": name, "zone": "UTC", "first": "2020-01-01", "last": last.isoformat(),
            "complete": name == "XSHG", "shapes": [[570, 960, None, None, 570, 960]],
            "regular": [0, 0, 0, 0, 0, None, None], "days": "",
        }  # fmt: skip


SHANGHAI_ENDS = date(2026, 12, 31)
NOON = 12 * 3600.0
NEXT_YEAR = NOVEMBER_24 + 365 * 86400


async def test_a_table_whose_end_is_near_is_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the daemon runs (once a day) and at its start; 300 days before the end, not sooner."""
    library, clock = Library(monkeypatch), ManualClock(NOVEMBER_24)
    running = Calendars(tmp_path, {}, clock)
    await running.load(["XNYS"])
    first_end = running.get("XNYS").end
    last_day = date.fromisoformat(json.loads((tmp_path / "calendar-XNYS.json").read_text())["last"])

    clock.set(midnight(last_day - timedelta(300), UTC) + NOON)
    await running.refresh()
    assert len(library.asked) == 1

    clock.set(midnight(last_day - timedelta(299), UTC) + NOON)
    await running.refresh()
    assert library.asked[1:] == [(["XNYS"], last_day - timedelta(299))]
    assert running.get("XNYS").end > first_end + 300 * 86400

    await Calendars(tmp_path, {}, clock).load(["XNYS"])  # from the renewed cache
    assert len(library.asked) == 2


async def test_a_table_of_another_version_of_the_library_is_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update brings holidays that were not known."""
    library, clock = Library(monkeypatch), ManualClock(NOVEMBER_24)
    await Calendars(tmp_path, {}, clock).load(["XNYS"])
    file = tmp_path / "calendar-XNYS.json"
    current = file.read_text()
    file.write_text(json.dumps(json.loads(current) | {"version": "4.0"}))
    await Calendars(tmp_path, {}, clock).load(["XNYS"])
    assert len(library.asked) == 2
    assert file.read_text() == current


async def test_a_table_that_is_all_the_library_knows_is_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shanghai's ends soon, and the same version cannot know more."""
    library, clock = Library(monkeypatch), ManualClock(NOVEMBER_24)
    calendars = Calendars(tmp_path, {}, clock)
    await calendars.load(["XSHG"])
    clock.set(NEXT_YEAR)
    await calendars.refresh()
    assert len(library.asked) == 1


async def test_an_old_table_is_used_while_it_cannot_be_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With a warning that gives the reason."""
    library, clock = Library(monkeypatch), ManualClock(NOVEMBER_24)
    await Calendars(tmp_path, {}, clock).load(["XNYS"])
    clock.set(NOVEMBER_24 + 900 * 86400)
    library.problem = "ImportError: no pandas"
    calendars = Calendars(tmp_path, {}, clock)
    await calendars.load(["XNYS"])
    assert len(library.asked) == 2
    assert calendars.get("XNYS").session_on(date(2028, 12, 21))
    assert "XNYS could not be renewed" in caplog.text
    assert "no pandas" in caplog.text


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


async def test_what_a_check_has_built_is_not_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps tables where the exporter looks too; an outdated one there does not win."""
    library, clock = Library(monkeypatch), ManualClock(NOVEMBER_24)
    heard: list[tuple[int, int]] = []
    checking = Calendars(tmp_path / "user", {}, clock, progress=lambda *n: heard.append(n))
    await checking.load(["XLON", "XNYS"])
    running = Calendars(tmp_path / "var", {}, clock, also=tmp_path / "user")
    await running.load(["XLON", "XNYS"])
    assert len(library.asked) == 1
    assert heard == [(1, 2), (2, 2)]

    clock.set(NEXT_YEAR + 365 * 86400)
    await running.load(["XNYS"])
    assert library.asked[1:] == [(["XNYS"], date(2028, 11, 23))]
    await Calendars(tmp_path / "var", {}, clock, also=tmp_path / "user").load(["XNYS"])
    assert len(library.asked) == 2


@pytest.mark.parametrize(
    ("ends", "why"),
    [
        ("raise SystemExit('killed')", "killed"),
        ("print('Traceback')", "JSONDecodeError"),
        ("import os; os.close(1); os._exit(0)", "the process ended early"),
    ],
)
async def test_a_builder_that_dies_loses_no_other_calendar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str, why: str
) -> None:
    """What it has said counts; the rest is named with the reason."""
    said = json.dumps(Library(monkeypatch).table("XLON", date(2026, 11, 24)))
    monkeypatch.undo()

    async def dies(names: list[str], today: date) -> asyncio.subprocess.Process:
        code = f"print({said!r}, flush=True)\n{ends}"
        return await asyncio.create_subprocess_exec(
            sys.executable, "-S", "-c", code, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    monkeypatch.setattr(loader, "_builder", dies)
    calendars = Calendars(tmp_path, {}, ManualClock(NOVEMBER_24))
    with pytest.raises(CalendarError) as failed:
        await calendars.load(["XLON", "XNYS", "XTKS"])
    assert set(failed.value.problems) == {"XNYS", "XTKS"}
    assert all(why in text for text in failed.value.problems.values())
    assert calendars.names == ["XLON"]
