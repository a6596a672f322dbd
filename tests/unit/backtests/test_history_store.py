"""Kept history: asked for once, extended, compared with what the source says now."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporter.backtests.bar_table import BarTable
from exporter.backtests.history_store import HistoryStore, gaps, jumps
from exporter.calendars.bars import Calendar
from exporter.sources.base import Bar, SourceError
from tests.unit.backtests.bars import HOUR
from tests.unit.backtests.bars import bars as made_bars
from tests.unit.tables import calendar

ROOT = Path(__file__).parents[3]
DAY = 24 * HOUR
T0 = 1_790_467_200.0
"""2026-09-27 00:00 UTC."""


class Source:
    """Hourly bars for ever; counts what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, float]] = []
        self.recent_asked = 0
        self.factor_before: tuple[float, float] = (0.0, 1.0)
        self.changed: dict[float, float] = {}
        self.refuses: SourceError | None = None

    def bar(self, at: float) -> Bar:
        price = 100 + np.sin(at / 1e5)
        before, factor = self.factor_before
        price *= factor if at < before else 1.0
        price = self.changed.get(at, price)
        return Bar("X/Y", at, price, price * 1.01, price * 0.99, price, 10.0)

    def calendar(self, exchange: str) -> Calendar:
        return calendar(exchange)

    def history(
        self, symbol: str, interval: str, start: float, end: float, *, source: str | None = None
    ) -> list[Bar]:
        if self.refuses:
            raise self.refuses
        self.asked.append((start, end))
        first = int(np.ceil(start / HOUR))
        return [self.bar(n * HOUR) for n in range(first, int(np.ceil(end / HOUR)))]

    def recent(
        self, symbol: str, interval: str, limit: int, *, source: str | None = None
    ) -> list[Bar]:
        self.recent_asked += 1
        return [self.bar(self.now - n * HOUR) for n in range(limit, 0, -1)]

    now = T0


@pytest.fixture
def source() -> Source:
    return Source()


def store(folder: Path, source: Source) -> HistoryStore:
    return HistoryStore(folder / "history", source)


def test_what_is_known_is_not_asked_for_again(tmp_path: Path, source: Source) -> None:
    """By another store either, as of the next run; the bars are the same to the last bit."""
    first, notes = store(tmp_path, source).bars("m", "X/Y", "1h", T0 - 5 * DAY, T0)
    assert (len(first), notes) == (120, [])
    second, _ = store(tmp_path, source).bars("m", "X/Y", "1h", T0 - 5 * DAY, T0)
    assert second.fingerprint() == first.fingerprint()
    third, _ = store(tmp_path, source).bars("m", "X/Y", "1h", T0 - 2 * DAY, T0 - DAY)
    assert len(third) == 24
    assert source.asked == [(T0 - 5 * DAY, T0)]


def test_a_file_is_extended_by_what_is_new(tmp_path: Path, source: Source) -> None:
    """Forwards with a few known bars, backwards by what is missing."""
    kept = store(tmp_path, source)
    kept.bars("m", "X/Y", "1h", T0 - 5 * DAY, T0 - 2 * DAY)
    bars, _ = kept.bars("m", "X/Y", "1h", T0 - 7 * DAY, T0)
    assert source.asked[1:] == [(T0 - 2 * DAY - 20 * HOUR, T0), (T0 - 7 * DAY, T0 - 5 * DAY)]
    assert len(bars) == 7 * 24
    assert (np.diff(bars.start) == HOUR).all()
    kept.bars("m", "X/Y", "1h", T0 - 7 * DAY, T0)
    assert len(source.asked) == 3


def test_a_split_is_noticed_and_all_is_fetched_again(tmp_path: Path, source: Source) -> None:
    """Old prices are now a tenth of what was kept: mixing both would be a crash that never was."""
    kept = store(tmp_path, source)
    kept.bars("m", "X/Y", "1h", T0 - 5 * DAY, T0 - DAY)
    source.factor_before = (T0 - DAY, 0.1)
    bars, (note,) = kept.bars("m", "X/Y", "1h", T0 - 5 * DAY, T0)
    assert note.startswith("prices until 2026-09-25 are now 0.1 times what they were, as after")
    assert float(bars.close[0]) == pytest.approx(10, abs=0.2)
    again, notes = kept.bars("m", "X/Y", "1h", T0 - 5 * DAY, T0)
    assert (again.fingerprint(), notes) == (bars.fingerprint(), [])


def test_a_correction_is_noticed(tmp_path: Path, source: Source) -> None:
    """One bar that the source now tells otherwise."""
    kept = store(tmp_path, source)
    kept.bars("m", "X/Y", "1h", T0 - 5 * DAY, T0 - DAY)
    source.changed[T0 - DAY - 3 * HOUR] = 90.0
    bars, (note,) = kept.bars("m", "X/Y", "1h", T0 - 5 * DAY, T0)
    assert note.startswith(
        "the source corrected 1 of the bars that it gave before, from 2026-09-25"
    )
    assert 90.0 in bars.close


@pytest.mark.parametrize(
    "error",
    [
        SourceError("api", "X/Y: the source ignores start_time and end_time; does the plan "
                    "include history?"),
        SourceError("api", "not in your plan", code=3009),
    ],
)  # fmt: skip
def test_a_plan_without_history_grows_week_by_week(
    tmp_path: Path, source: Source, error: SourceError
) -> None:
    """What `limit` gives is kept; after a week there is more of it than one answer holds."""
    kept = store(tmp_path, source)
    source.refuses = error
    bars, _ = kept.bars("m", "X/Y", "1h", T0 - 90 * DAY, T0)
    assert len(bars) == 1000
    kept.bars("m", "X/Y", "1h", T0 - 90 * DAY, T0)
    assert source.recent_asked == 1
    source.now = T0 + 7 * DAY
    bars, _ = kept.bars("m", "X/Y", "1h", T0 - 83 * DAY, T0 + 7 * DAY)
    assert len(bars) == 1168
    said = gaps(bars, calendar("24/7"), "1h", T0 - 83 * DAY, T0 + 7 * DAY)
    assert said == "992 of 2160 1h bars are missing (41 whole days)"


def test_other_errors_of_the_source_are_raised(tmp_path: Path, source: Source) -> None:
    """A timeout is no reason to be content with less."""
    source.refuses = SourceError("timeout", "no answer", retryable=True)
    with pytest.raises(SourceError, match="no answer"):
        store(tmp_path, source).bars("m", "X/Y", "1h", T0 - DAY, T0)


def test_a_file_that_cannot_be_read_is_fetched_again(tmp_path: Path, source: Source) -> None:
    """Half a file, or another program's."""
    kept = store(tmp_path, source)
    kept.bars("m", "X/Y", "1h", T0 - DAY, T0)
    (file,) = tmp_path.rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:100])
    bars, (note,) = kept.bars("m", "X/Y", "1h", T0 - DAY, T0)
    assert len(bars) == 24
    assert note.startswith("what was kept cannot be read and is fetched again: ")


def test_a_full_disk_costs_the_file_alone(tmp_path: Path, source: Source) -> None:
    """The bars are there, it says so, and no part of a file stays."""
    folder = tmp_path / "history/m"
    folder.mkdir(parents=True)
    (folder / f"X%2FY@1h.{os.getpid()}.part").symlink_to("/dev/full")
    bars, (note,) = store(tmp_path, source).bars("m", "X/Y", "1h", T0 - DAY, T0)
    assert len(bars) == 24
    assert note.startswith("its bars cannot be kept: ")
    assert "No space left on device" in note
    assert [file.name for file in folder.iterdir()] == ["X%2FY@1h.lock"]


FETCH = """
import sys
from pathlib import Path
from tests.unit.backtests.test_history_store import DAY, T0, HistoryStore, Source
kept = HistoryStore(Path(sys.argv[1]), Source())
kept.bars("m", "X/Y", "1h", T0 - int(sys.argv[2]) * DAY, T0)
kept.close()
"""


def test_two_processes_share_one_file(tmp_path: Path) -> None:
    """Each extends what the other wrote; the file is whole at every moment."""
    command = [sys.executable, "-c", FETCH, str(tmp_path / "history")]
    both = [subprocess.Popen([*command, days], cwd=ROOT) for days in ("3", "9")]
    assert [process.wait(60) for process in both] == [0, 0]
    source = Source()
    bars, notes = store(tmp_path, source).bars("m", "X/Y", "1h", T0 - 9 * DAY, T0)
    assert (len(bars), notes, source.asked) == (216, [], [])


def test_gaps_are_counted_by_the_exchanges_calendar(source: Source) -> None:
    """A night is no gap; a missing day is; bars from the night are named."""
    new_york = calendar("XNYS")
    start, end = T0 - 7 * DAY, T0
    sessions = new_york.sessions(start, end)
    starts = [s.open + n * HOUR for s in sessions for n in range(7)]
    found = [replace(source.bar(at)) for at in starts]
    table = BarTable.of_bars("X", found)
    assert gaps(table, new_york, "1h", start, end) is None
    without = table.where(~((table.start >= sessions[1].open) & (table.start < sessions[2].open)))
    assert gaps(without, new_york, "1h", start, end) == (
        f"7 of {7 * len(sessions)} 1h bars are missing (1 whole day)"
    )
    night = BarTable.of_bars("X", [*found, source.bar(sessions[0].close + 5 * HOUR)])
    assert gaps(night, new_york, "1h", start, end) == "1 bars are from outside the exchange's hours"


def test_a_split_that_is_not_adjusted_for_is_said() -> None:
    """Ten for one looks like a loss of 90 %; a day on which a price rises by half does not."""
    assert jumps(made_bars([100, 150, 101, 99])) is None
    assert jumps(made_bars([])) is jumps(made_bars([5])) is None
    assert jumps(made_bars([100, 101, 10.1, 10.2, 30])) == (
        "the close of 2026-09-21 16:20 UTC is 0.1 times the one before (1 more): a split that the "
        "source has not adjusted for, or a wrong price?"
    )
