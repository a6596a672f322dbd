"""A run from plan to kept results, with units computed in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.backtests.bar_table import BarTable
from exporter.backtests.batch import run_batch
from exporter.backtests.batch_end import BatchEnd
from exporter.backtests.plan import code_fingerprint, replaced_params
from exporter.backtests.prepare import BatchOrder, window
from exporter.backtests.published import LATEST
from exporter.backtests.unit import UnitGroup, UnitResult, compute
from exporter.calendars.bars import Calendar
from exporter.config.backtests import BacktestedStrategy, Backtests
from exporter.sources.base import SourceError
from tests.unit.backtests.bars import HOUR, random_bars
from tests.unit.clocks import ManualClock
from tests.unit.tables import calendar

SUNDAY = 1_790_514_000.0
"""2026-09-27 13:00 UTC."""


class Desk:
    """A strategy in a folder, made-up history, and an executor that counts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, ManualClock(SUNDAY)
        self.name = f"desk_{folder.name.replace('-', '_')}"
        self.write("return (bars.close > bars.close.shift(n)).astype(float)")
        self.symbols: tuple[str, ...] = ("A", "B")
        self.bars = {"A": self.table("A", 1), "B": self.table("B", 2)}
        self.grid: Any = {"n": [2, 4, 8]}
        self.computed = 0
        self.break_after: int | None = None
        self.workers = 2

    def table(self, symbol: str, seed: int, count: int = 300) -> BarTable:
        made = random_bars(count, seed)
        start = made.start - made.start[-1] + SUNDAY - 48 * HOUR
        return replace(made, symbol=symbol, start=start)

    def write(self, body: str) -> None:
        (self.folder / f"{self.name}.py").write_text(f"def f(bars, n=2):\n    {body}\n")

    def calendar(self, exchange: str) -> Calendar:
        return calendar(exchange)

    def bars_of(self, symbol: str) -> BarTable:
        if symbol not in self.bars:
            raise SourceError("api", f"{symbol}: unknown symbol")
        return self.bars[symbol]

    def run(self, groups: Iterator[UnitGroup], on_result: Callable[[UnitResult], None]) -> None:
        for group in groups:
            for result in compute(group):
                if self.break_after is not None and self.computed >= self.break_after:
                    raise KeyboardInterrupt
                self.computed += 1
                on_result(result)

    def order(self, **given: Any) -> BatchOrder:
        settings = Backtests(
            strategies={
                "s": BacktestedStrategy(
                    run=f"{self.name}:f", symbols=self.symbols, interval="1h", exchange="24/7",
                    params={"n": 4}, grid=self.grid,
                )
            }
        )  # fmt: skip
        return BatchOrder(settings, self.folder / "kept", [self.folder], **given)

    def batch(self, **given: Any) -> BatchEnd:
        self.computed = 0
        history = type(
            "Given", (), {"bars": lambda _, s, symbol, *rest: (self.bars_of(symbol), [])}
        )()
        return run_batch(self.order(**given), self.calendar, history, self, self.clock)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_run_has_a_result_for_each_symbol_and_set(desk: Desk) -> None:
    """The configured set first; it is in the grid too, and counts once."""
    end = desk.batch()
    assert [(one.symbol, one.params["n"], one.configured) for one in end.results] == [
        ("A", 4, True), ("A", 2, False), ("A", 8, False),
        ("B", 4, True), ("B", 2, False), ("B", 8, False),
    ]  # fmt: skip
    assert end.failures == []
    assert all(one.numbers["bars"] == 300 for one in end.results)
    assert end.configured[0].curve is not None


def test_what_did_not_change_is_not_computed_again(desk: Desk) -> None:
    """The second run knows everything; and says the same."""
    first = desk.batch()
    second = desk.batch()
    assert (desk.computed, second.progress.reused) == (0, 6)
    assert [one.numbers for one in second.results] == [one.numbers for one in first.results]
    assert desk.batch(everything=True).progress.reused == 0
    assert desk.computed == 6


def test_code_parameters_and_data_each_make_a_unit_new(desk: Desk) -> None:
    """And only the units that they concern."""
    desk.batch()
    desk.bars["B"].close[7] *= 1.01
    desk.batch()
    assert desk.computed == 3
    desk.grid = {"n": [2, 4, 9]}
    desk.batch()
    assert desk.computed == 2
    desk.write("return bars.close * 0 + n")
    desk.batch()
    assert desk.computed == 6


def test_a_run_that_was_broken_off_goes_on(desk: Desk) -> None:
    """What was computed before the interrupt is not computed again."""
    desk.break_after = 4
    with pytest.raises(KeyboardInterrupt):
        desk.batch()
    desk.break_after = None
    end = desk.batch()
    assert (end.progress.reused, desk.computed, len(end.results)) == (4, 2, 6)


def test_a_unit_that_failed_is_tried_again(desk: Desk) -> None:
    """A failure is no result; the others are kept."""
    desk.write("return 1 / (n - 4) + bars.close * 0 if n != 8 else bars.close * 0")
    first = desk.batch()
    assert [text.partition(":")[0] for text in first.failures] == ["s A", "s B"]
    desk.batch()
    assert desk.computed == 2


def test_a_symbol_without_history_costs_no_other(desk: Desk) -> None:
    """It is named; the rest is computed."""
    desk.symbols = ("A", "GONE", "B")
    end = desk.batch()
    assert dict(end.problems) == {"s GONE": "unknown symbol"}
    assert end.failures == ["s GONE: unknown symbol"]
    assert len(end.results) == 6


def test_the_newest_configured_results_are_published(desk: Desk) -> None:
    """Never those of the best set; a run over other days leaves them as they are."""
    end = desk.batch()
    latest = json.loads((desk.folder / "kept" / LATEST).read_text())
    assert set(latest) == {"s|A", "s|B", "s|"}
    assert latest["s|"] == {}, "thirteen days say too little about a mean"
    assert latest["s|A"]["params"] == {"n": 4}
    assert latest["s|A"]["return"] == pytest.approx(end.configured[0].numbers["return"])
    assert latest["s|A"]["at"] == SUNDAY
    desk.bars["A"].close[:] = desk.bars["B"].close
    desk.batch(days=10)
    assert json.loads((desk.folder / "kept" / LATEST).read_text()) == latest


def test_the_days_of_a_strategy_are_published_for_live_days_to_be_compared_with(desk: Desk) -> None:
    """Of all its symbols, with the configured parameters."""
    desk.bars = {symbol: desk.table(symbol, seed, 24 * 40) for seed, symbol in enumerate("AB")}
    desk.batch()
    days = json.loads((desk.folder / "kept" / LATEST).read_text())["s|"]
    assert (days["params"], days["symbols"], days["at"]) == ({"n": 4}, ["A", "B"], SUNDAY)
    assert 38 <= days["count"] <= 40
    assert days["deviation"] > 0


def test_a_run_is_compared_with_that_of_an_earlier_day(desk: Desk) -> None:
    """Not with what the same morning's first attempt found."""
    first = desk.batch()
    assert desk.batch().previous == []
    desk.clock.advance(7 * 86400)
    previous = desk.batch().previous
    assert [one.numbers for one in previous] == [one.numbers for one in first.configured]


def test_one_line_is_logged_for_each_result(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """With its numbers, of the configured set."""
    caplog.set_level("INFO")
    desk.batch()
    lines = [r for r in caplog.records if getattr(r, "event", "") == "backtest_result"]
    assert [r.getMessage() for r in lines] == ["Backtest completed: s A", "Backtest completed: s B"]
    assert lines[0].__dict__["strategy"] == "s"
    assert isinstance(lines[0].__dict__["sharpe"], float)


def test_the_window_is_of_whole_days() -> None:
    """So a run in the evening of the same day has the same bars; across daylight saving too."""
    new_york = calendar("XNYS")
    start, end = window(new_york, SUNDAY, 90)
    assert (start % 86400, end % 86400) == (4 * 3600, 4 * 3600)
    assert end - start == 90 * 86400
    assert window(new_york, SUNDAY + 6 * 3600, 90) == (start, end)
    winter = 1_793_890_800.0  # 2026-11-05, after the clocks changed
    start, end = window(new_york, winter, 10)
    assert end - start == 10 * 86400 + 3600


def test_the_fingerprint_of_code_follows_imports(tmp_path: Path) -> None:
    """A helper that the module imports is code too; a file that it does not import is not."""
    (tmp_path / "main.py").write_text("from helper import x\nimport pack.part\n")
    (tmp_path / "helper.py").write_text("x = 1\n")
    (tmp_path / "other.py").write_text("y = 1\n")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack/__init__.py").write_text("")
    (tmp_path / "pack/part.py").write_text("from . import deep\n")
    (tmp_path / "pack/deep.py").write_text("z = 1\n")
    first = code_fingerprint("main:f", [tmp_path])
    (tmp_path / "other.py").write_text("y = 2\n")
    assert code_fingerprint("main:f", [tmp_path]) == first
    for file in ("helper.py", "pack/deep.py", "main.py"):
        before = code_fingerprint("main:f", [tmp_path])
        (tmp_path / file).write_text((tmp_path / file).read_text() + "# changed\n")
        assert code_fingerprint("main:f", [tmp_path]) != before


def test_parameters_of_the_command_line_are_numbers_where_they_look_so() -> None:
    """Whole numbers, others, words."""
    assert replaced_params(["n=1,2.5,fast", "x=true"]) == {"n": [1, 2.5, "fast"], "x": [True]}
    with pytest.raises(ValueError, match="invalid parameters 'n': write window=10,20,40"):
        replaced_params(["n"])
