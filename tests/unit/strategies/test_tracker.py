"""Strategies over restarts and files that grow, against a computation of its own."""

from __future__ import annotations

import asyncio
import csv
import itertools
import logging
import math
import os
import random
import sqlite3
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import CollectorRegistry

from exporter.calendars.loader import Calendar
from exporter.config import Config, Strategy
from exporter.metrics import Metrics
from exporter.state import StateError, schema
from exporter.state.history import StateHistory
from exporter.state.ledger import Fill
from exporter.state.sql import Row
from exporter.strategies.equity import EquityCurve
from exporter.strategies.equity_files import UNFINISHED_SECONDS
from exporter.strategies.equity_point import EquityPoint
from exporter.strategies.file import EquityFilePosition
from exporter.strategies.read_curve import read_curve
from exporter.strategies.tracker import Strategies
from exporter.util import give_way
from tests.unit.clocks import ManualClock
from tests.unit.feeds.test_poller import FakeState
from tests.unit.tables import calendar

START = 1_760_000_000.0
DAY = 86400.0
SPY = Path(__file__).parents[4] / "shared/data/spy_daily_2008_2018.csv"


class Kept(FakeState):
    """Values in memory, and rows in a real file, which `broken` cannot be written."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.broken = path, False
        self.history = StateHistory(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            schema.migrate(db, path)

    async def keep(self, kind: str, name: str, value: Any) -> None:
        self.rows.setdefault(kind, {})[name] = value

    async def write(
        self, statements: Sequence[Row], values: Iterable[tuple[str, str, Any]] = ()
    ) -> int:
        if self.broken:
            raise StateError("the disk is full")
        with closing(sqlite3.connect(self.path)) as db, db:
            changed = sum(db.execute(*statement).rowcount for statement in statements)
        await self.keep_many(list(values))
        return changed


class Desk:
    """One strategy in a folder, and restarts."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.file = folder / "equity.csv"
        self.clock = ManualClock(START + 20 * 365 * DAY)
        self.state = Kept(folder / "rows.db")
        more = {"equity_file": self.file, **more}
        self.config = Config(timezone="UTC", strategies={"s": Strategy(**more)})
        self.restart()

    def restart(self, calendar: Callable[[str], Calendar] | None = None) -> None:
        self.registry = CollectorRegistry()
        self.strategies = Strategies(
            self.state,  # type: ignore[arg-type]
            self.clock,
            Metrics(self.registry),
            calendar,
        )
        self.strategies.apply(self.config)

    async def read(self) -> None:
        await self.strategies.refresh(patience=60.0)

    def append(self, text: str) -> None:
        with self.file.open("a") as file:
            file.write(text)

    def value(self, name: str) -> float:
        value = self.registry.get_sample_value(f"quant_strategy_{name}", {"strategy": "s"})
        assert value is not None
        return value

    @property
    def problem(self) -> str | None:
        return self.strategies.problems.get("s")


def textbook(points: list[tuple[float, float]]) -> list[float]:
    """Drawdown after each (equity, flow), by the value of a unit that flows buy and sell."""
    units, best, found = 1.0, 0.0, []
    for number, (equity, flow) in enumerate(points):
        if number == 0:
            units = equity
        elif flow:
            units *= equity / (equity - flow)
        price = equity / units
        if flow and number:
            best = max(best, (equity - flow) / (units * (equity - flow) / equity))
        best = max(best, price)
        found.append(1 - price / best)
    return found


def walk(count: int, flows: bool) -> list[tuple[float, float]]:
    """A seeded random walk of equity, some of its steps with deposits and withdrawals."""
    rng, equity, points = random.Random(7), 100_000.0, []
    for _ in range(count):
        equity *= math.exp(rng.gauss(0.0003, 0.012))
        flow = rng.choice((-0.3, -0.05, 0.1, 2.0)) * equity if flows and rng.random() < 0.05 else 0
        equity += flow
        points.append((equity, flow))
    return points


def spy() -> list[tuple[float, float]]:
    """Real closes, where they lie beside the checkout."""
    if not SPY.exists():
        pytest.skip(f"{SPY.name} is not beside the checkout")
    with SPY.open() as file:
        return [(float(row["Adj Close"]), 0.0) for row in csv.DictReader(file)]


@pytest.mark.parametrize("series", ["walk", "walk with flows", "SPY"])
async def test_drawdown_is_the_textbook_s_over_restarts_and_half_written_lines(
    tmp_path: Path, series: str
) -> None:
    """The file grows by any number of bytes, is rotated, and read by one process after another."""
    points = spy() if series == "SPY" else walk(1500, flows="flows" in series)
    expected = textbook(points)
    text = "timestamp,equity,flow\n" + "".join(
        f"{START + n * DAY:.0f},{equity!r},{flow!r}\n" for n, (equity, flow) in enumerate(points)
    )
    desk, rng, written, at = Desk(tmp_path), random.Random(3), 0, 0
    desk.file.write_text("")
    while at < len(text):
        size = rng.randrange(1, 4000)
        rotates = rng.random() < 0.2
        if rotates:  # programs write whole lines
            size = text.index("\n", min(at + size, len(text) - 1)) + 1 - at
        desk.append(text[at : at + size])
        at += size
        written += 1
        if rotates:
            desk.file.rename(tmp_path / f"equity.csv.{written}")
            desk.file.write_text("timestamp,equity,flow\n")
        if rng.random() < 0.3:
            desk.restart()
        await desk.read()
        done = text[:at].count("\n") - 1
        if done > 0:
            assert desk.value("drawdown_ratio") == pytest.approx(expected[done - 1], abs=1e-9)
            assert desk.value("equity") == points[done - 1][0]
    assert done == len(points)
    assert desk.problem is None
    if series == "SPY":
        assert max(expected) == pytest.approx(0.52295, abs=1e-5)  # March 2009


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_a_rotation_left_unread_is_read(tmp_path: Path, restarted: bool) -> None:
    """The peak stood in the last line before it."""
    desk = Desk(tmp_path)
    desk.append(f"timestamp,equity\n{START},100\n")
    await desk.read()
    desk.append(f"{START + 1},200\n{START + 2},150\n")
    desk.file.rename(tmp_path / "equity.csv.1")
    desk.append(f"timestamp,equity\n{START + 3},160\n")
    if restarted:
        desk.restart()
    await desk.read()
    assert desk.value("equity_peak") == 200
    assert desk.value("equity") == 160
    desk.append(f"{START + 4},170\n")
    await desk.read()
    assert desk.value("equity") == 170


async def test_the_peak_survives_a_file_that_was_emptied_or_is_gone(tmp_path: Path) -> None:
    """And that it cannot be read is said, until it can."""
    desk = Desk(tmp_path)
    desk.append(f"timestamp,equity\n{START},100\n{START + 1},80\n")
    await desk.read()
    desk.file.unlink()
    await desk.read()
    assert desk.problem == f"cannot read {desk.file}: No such file or directory"
    desk.restart()
    desk.append("timestamp,equity\n")
    await desk.read()
    assert desk.problem == "equity.csv had rows, and has none now"
    assert desk.value("drawdown_ratio") == pytest.approx(0.2)
    desk.append(f"{START},500\n{START + 2},90\n")
    await desk.read()
    assert desk.value("drawdown_ratio") == pytest.approx(0.1)


async def test_a_problem_ends_when_the_file_is_back_unchanged(tmp_path: Path) -> None:
    """Another program moved it away for a moment."""
    desk = Desk(tmp_path)
    desk.append(f"timestamp,equity\n{START},100\n")
    await desk.read()
    desk.file.rename(tmp_path / "away")
    await desk.read()
    assert desk.problem
    (tmp_path / "away").rename(desk.file)
    await desk.read()
    assert desk.problem is None


@pytest.mark.parametrize(
    "line",
    [
        "x" * 200_000,
        '"' + "x" * 200_000,
        '{"timestamp":' + "[" * 100_000,
        f'{{"timestamp": {START + 1}, "equity": NaN}}',
        f'{{"timestamp": {START + 1}, "equity": 1e999}}',
        f"{START + 1},{'9' * 400}",
        "0001-01-01T00:00:00+14:00,100",
        "9999-12-31T23:59:59-14:00,100",
        f"{START + 1},-inf",
        f"{START + 1},0x10",
        "100,100",
    ],
)
async def test_no_line_stops_the_reading(tmp_path: Path, line: str) -> None:
    """It is counted as unusable, and what follows it is read."""
    desk = Desk(tmp_path)
    desk.append(f"timestamp,equity\n{START},100\n{line}\n{START + 2},90\n")
    await desk.read()
    assert desk.value("drawdown_ratio") == pytest.approx(0.1)
    assert desk.problem is not None
    assert desk.problem.startswith("line 3 of equity.csv: ")


async def test_a_pipe_holds_nobody_up(tmp_path: Path) -> None:
    """Opening one waits for a writer; the other strategies would wait too."""
    desk = Desk(tmp_path)
    os.mkfifo(desk.file)
    await desk.read()
    assert desk.problem == f"cannot read {desk.file}: not a regular file"


async def test_points_that_come_too_late_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are left out; equal ones are no fault, and a file read anew has old ones in it."""
    desk = Desk(tmp_path)
    desk.append(f"timestamp,equity\n{START},100\n{START + 9},90\n")
    await desk.read()
    desk.append(f"{START + 9},90\n{START + 5},400\n{START + 6},500\n{START + 10},95\n")
    with caplog.at_level(logging.WARNING):
        await desk.read()
    assert desk.value("equity_peak") == 100
    assert desk.value("equity") == 95
    assert desk.problem == "2 points of equity.csv were too late and left out"
    assert [r.event for r in caplog.records] == ["equity_out_of_order"]
    desk.file.write_text(f"timestamp,equity\n{START},100\n{START + 11},99\n")
    await desk.read()
    assert desk.problem is None


async def test_a_file_needs_no_header_and_may_have_two(tmp_path: Path) -> None:
    """A program that starts anew writes it anew; a rotated file may have lost it."""
    desk = Desk(tmp_path)
    desk.append(f"{START},100,0\n{START + 1},110,0\n")
    desk.append(f"Timestamp, Equity, Flow\n{START + 2},60,-50\n")
    await desk.read()
    assert desk.problem is None
    assert (desk.value("equity"), desk.value("drawdown_ratio")) == (60, 0)


async def test_negative_equity_is_a_drawdown_of_one(tmp_path: Path) -> None:
    """Margin debt; and back above zero it is measured from the peak again."""
    desk = Desk(tmp_path)
    desk.append(f"timestamp,equity\n{START},100\n{START + 1},-20\n")
    await desk.read()
    assert desk.value("drawdown_ratio") == 1
    desk.append(f"{START + 2},25\n")
    await desk.read()
    assert desk.value("drawdown_ratio") == 0.75


async def test_json_lines_and_posts_make_one_curve(tmp_path: Path) -> None:
    """The newest of both; a wrong peak is taken back with the next point."""
    desk = Desk(tmp_path)
    moment = datetime.fromtimestamp(START, UTC).isoformat()
    desk.append(f'{{"timestamp": "{moment}", "equity": 100}}\n')
    await desk.read()
    post = desk.strategies.post_equity
    assert (await post("s", EquityPoint(START + 60, 900))).peak == 900
    desk.append(f'{{"timestamp": {(START + 30) * 1000}, "equity": 95}}\n')  # the post was newer
    desk.append(f'{{"timestamp": {(START + 90) * 1000}, "equity": 90}}\n')
    await desk.read()
    assert desk.value("drawdown_ratio") == pytest.approx(0.9)
    with pytest.raises(ValueError, match="is not newer than"):
        await post("s", EquityPoint(START + 90, 91), reset_peak=True)
    await post("s", EquityPoint(START + 91, 90), reset_peak=True)
    assert desk.value("drawdown_ratio") == 0
    await desk.strategies.holdings.add_fill(
        "s", Fill("NVDA.US", "buy", START + 91, Decimal("187.5"))
    )
    desk.restart()
    assert desk.value("equity_peak") == 90
    labels = {"strategy": "s", "symbol": "NVDA.US", "side": "buy"}
    assert desk.registry.get_sample_value("quant_strategy_last_fill_price", labels) == 187.5


async def test_a_post_during_a_long_read_loses_nothing(tmp_path: Path) -> None:
    """Neither the file's peak nor the posted point, in whichever order they come."""
    desk = Desk(tmp_path)
    rows = itertools.chain([50.0] * 10_000, [200.0], [100.0] * 10_000)
    desk.append("timestamp,equity\n" + "".join(f"{START + n},{e}\n" for n, e in enumerate(rows)))
    async with asyncio.TaskGroup() as group:
        group.create_task(desk.read())
        group.create_task(desk.strategies.post_equity("s", EquityPoint(START + 50_000, 90)))
    assert desk.value("equity") == 90
    assert desk.value("equity_peak") == 200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20261124", 1795478400.0),
        ("2026-11-24 16:00:00+00:00", 1795536000.0),
        ("1795536000000000", 1795536000.0),
        ("1795536000000000000", 1795536000.0),
    ],
)
async def test_times_in_the_forms_that_libraries_write(
    tmp_path: Path, text: str, expected: float
) -> None:
    """A compact date is no day in 1970; pandas writes nanoseconds."""
    desk = Desk(tmp_path)
    desk.append(f"timestamp,equity\n{text},100\n")
    await desk.read()
    assert desk.value("last_update_timestamp_seconds") == expected


ROWS = [
    ("2024-11-20", 100_000),
    ("2024-11-21", 120_000),
    ("2024-11-22", 96_000),
    ("2024-11-25", 97_000),
]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 1, 3, 0]])
async def test_the_order_of_a_file_s_rows_does_not_matter(tmp_path: Path, order: list[int]) -> None:
    """Exchanges and wallets export the newest row first; also when a row was added on top."""
    desk = Desk(tmp_path)
    lines = [f"{day},{equity}\n" for day, equity in ROWS]
    desk.append("timestamp,equity\n" + "".join(lines[n] for n in order))
    await desk.read()
    assert desk.value("equity_peak") == 120_000
    assert desk.value("drawdown_ratio") == pytest.approx(1 - 97 / 120)
    desk.file.write_text("timestamp,equity\n2024-11-26,90000\n" + "".join(lines[::-1]))
    await desk.read()
    assert desk.value("drawdown_ratio") == pytest.approx(1 - 90 / 120)
    assert desk.problem is None


@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_the_newest_row_may_be_rewritten_in_place(tmp_path: Path, form: str) -> None:
    """Today's row with the present equity: each writing replaces the one before, over restarts."""
    desk = Desk(tmp_path)

    def write(*equities: float) -> None:
        days = ["2024-11-21", "2024-11-22", "2024-11-25"]
        if form == "csv":
            rows = [f"{day},{equity}" for day, equity in zip(days, equities, strict=False)]
            desk.file.write_text("\n".join(["timestamp,equity", *rows, ""]))
        else:
            rows = [
                f'{{"timestamp": "{day}", "equity": {equity}}}'
                for day, equity in zip(days, equities, strict=False)
            ]
            desk.file.write_text("\n".join([*rows, ""]))

    write(100_000, 101_000)
    await desk.read()
    write(100_000, 130_000)
    await desk.read()
    write(100_000, 90_000)
    desk.restart()
    await desk.read()
    assert desk.value("equity") == 90_000
    assert desk.value("equity_peak") == 100_000
    assert desk.value("drawdown_ratio") == pytest.approx(0.1)
    write(100_000, 99_000, 98_000)  # corrected after the fact, and the next day
    await desk.read()
    assert desk.value("drawdown_ratio") == pytest.approx(0.02)


async def test_a_row_that_is_read_again_does_not_count_its_flow_twice(tmp_path: Path) -> None:
    """The file was replaced; its newest row has a deposit."""
    desk = Desk(tmp_path)
    text = "timestamp,equity,flow\n2024-11-21,100,0\n2024-11-22,150,50\n"
    desk.append(text)
    await desk.read()
    (tmp_path / "new").write_text(text)
    (tmp_path / "new").replace(desk.file)
    await desk.read()
    assert (desk.value("equity_peak"), desk.value("drawdown_ratio")) == (150, 0)


async def test_one_zero_among_good_balances_is_no_loss_of_everything(tmp_path: Path) -> None:
    """A broker that is down answers 0; a second zero, or a quarter of an hour, is believed."""
    desk = Desk(tmp_path)
    desk.append(f"timestamp,equity\n{START},100\n{START + 60},0\n")
    await desk.read()
    assert (desk.value("equity"), desk.value("drawdown_ratio")) == (100, 0)
    assert "equity 0 at" in str(desk.problem)
    desk.append(f"{START + 120},101\n")
    await desk.read()
    assert (desk.value("equity"), desk.problem) == (101, None)
    desk.append(f"{START + 180},0\n{START + 240},0\n")
    await desk.read()
    assert desk.value("drawdown_ratio") == 1
    desk.append(f"{START + 300},102\n{START + 360},0\n")
    await desk.read()
    desk.restart()
    await desk.read()
    assert desk.value("equity") == 102
    desk.clock.advance(901)
    await desk.read()
    assert desk.value("drawdown_ratio") == 1


async def test_equity_that_never_came_gets_old(tmp_path: Path) -> None:
    """Its age counts from when the strategy was configured, over restarts; the file is said."""
    desk = Desk(tmp_path, max_age=3600.0)
    await desk.read()
    assert desk.value("age_seconds") == 0
    assert desk.value("equity_unreadable") == 1
    desk.clock.advance(4000)
    desk.restart()
    assert desk.value("age_seconds") == 4000 > desk.value("age_limit_seconds")
    desk.append(f"timestamp,equity\n{desk.clock.now() - 5},100\n")
    await desk.read()
    assert desk.value("age_seconds") == pytest.approx(5)
    assert desk.value("equity_unreadable") == 0


async def test_a_file_that_is_not_understood_is_unreadable_until_it_is(tmp_path: Path) -> None:
    """Over a restart, too; a bad line among good ones is a problem, but no reason to alert."""
    desk = Desk(tmp_path)
    desk.append("when,how much\nyesterday,a lot\n")
    await desk.read()
    desk.restart()
    await desk.read()
    assert desk.value("equity_unreadable") == 1
    desk.file.write_text(f"when,how much\ntimestamp,equity\n{START},100\nTotal,\n")
    await desk.read()
    assert desk.value("equity_unreadable") == 0
    assert str(desk.problem).startswith("line 4 of equity.csv: timestamp 'Total' is not a time")


@pytest.mark.parametrize("newest", ["90,000,00", "ninety", "1;2"])
async def test_a_newest_row_that_is_not_understood_is_no_silent_end(
    tmp_path: Path, newest: str
) -> None:
    """The curve would end before it, and the drawdown with it. A row without a value yet, and one
    with good ones after it, are no such end."""
    desk = Desk(tmp_path)
    desk.append(f"timestamp,equity\n{START},100\n{START + 60},{newest}\n")
    await desk.read()
    assert (desk.value("equity"), desk.value("equity_unreadable")) == (100, 1)
    assert str(desk.problem).startswith("line 3 of equity.csv: ")
    desk.append(f"{START + 120},90\n{START + 180},\n")
    await desk.read()
    assert (desk.value("equity"), desk.value("equity_unreadable")) == (90, 0)


async def test_a_file_that_was_rotated_has_not_lost_its_rows(tmp_path: Path) -> None:
    """The old one lies next to it; a file that was emptied is said."""
    desk = Desk(tmp_path)
    desk.append(f"timestamp,equity\n{START},100\n")
    await desk.read()
    desk.file.rename(f"{desk.file}.1")
    desk.append("timestamp,equity\n")
    await desk.read()
    assert desk.problem is None
    desk.append(f"{START + 60},90\n")
    await desk.read()
    desk.file.write_text("")
    await desk.read()
    assert (desk.problem, desk.value("equity")) == ("equity.csv had rows, and has none now", 90)


async def test_a_last_line_that_never_gets_its_newline_is_reported(tmp_path: Path) -> None:
    """The newest equity would be missing for ever, and nobody would know."""
    desk = Desk(tmp_path)
    desk.append(f"timestamp,equity\n{START},100\n{START + 60},90")
    for seconds in (0, 60, UNFINISHED_SECONDS - 61):
        desk.clock.advance(seconds)
        await desk.read()
        assert desk.problem is None
    desk.clock.advance(2)
    await desk.read()
    assert desk.value("equity") == 100
    assert str(desk.problem).startswith("the last line of equity.csv does not end with a newline")
    desk.append("\n")
    await desk.read()
    assert (desk.value("equity"), desk.problem) == (90, None)


async def test_a_file_without_any_newline_is_unreadable(tmp_path: Path) -> None:
    """As old Macs end lines: with a carriage return alone."""
    desk = Desk(tmp_path)
    desk.file.write_bytes(f"timestamp,equity\r{START},100\r".encode())
    await desk.read()
    assert desk.value("equity_unreadable") == 0  # it may be being written
    desk.clock.advance(UNFINISHED_SECONDS)
    await desk.read()
    assert desk.value("equity_unreadable") == 1
    assert str(desk.problem).startswith(f"no line of {desk.file} ends with a newline")
    desk.file.write_bytes(f"timestamp,equity\r\n{START},100\r\n".encode())
    await desk.read()
    assert (desk.value("equity_unreadable"), desk.problem) == (0, None)


async def test_age_counts_the_exchange_s_trading_time(tmp_path: Path) -> None:
    """Friday's close is not old on Sunday; a day is one session, so Monday's close is due."""
    desk = Desk(tmp_path, exchange="XNYS", max_age=86400.0, equity_file=None)

    def age(text: str) -> float:
        desk.clock.set(datetime.fromisoformat(text).timestamp())
        return desk.value("age_seconds") / DAY

    desk.restart(calendar)
    friday = datetime.fromisoformat("2026-11-20T16:00-05:00").timestamp()
    desk.clock.set(friday)
    await desk.strategies.post_equity("s", EquityPoint(friday, 100))
    assert age("2026-11-22T12:00-05:00") == 0
    assert age("2026-11-23T12:45-05:00") == pytest.approx(0.5)
    assert age("2026-11-23T20:00-05:00") == 1
    assert age("2026-11-24T09:35-05:00") > 1
    desk.config = Config(strategies={"s": Strategy(exchange="XNYS", max_age=7200.0)})
    desk.restart(calendar)
    assert age("2026-11-23T10:30-05:00") * DAY == 3600


async def test_a_point_that_is_sent_again_counts_once(tmp_path: Path) -> None:
    """Its sender was told 503, or heard nothing; another value of that moment is refused."""
    desk = Desk(tmp_path)
    deposit = EquityPoint(START + 60, 150, 50)
    await desk.strategies.post_equity("s", EquityPoint(START, 100))
    for _ in range(2):
        await desk.strategies.post_equity("s", deposit)
    assert (desk.value("equity_peak"), desk.value("drawdown_ratio")) == (150, 0)
    with pytest.raises(ValueError, match="is not newer than"):
        await desk.strategies.post_equity("s", EquityPoint(START + 60, 149))


async def test_a_large_file_holds_up_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another strategy's file and posts go on while it is read."""
    desk, gate = Desk(tmp_path), threading.Event()
    other = tmp_path / "other.csv"
    desk.append(f"timestamp,equity\n{START},100\n")
    other.write_text(f"timestamp,equity\n{START},7\n")
    strategies = {**desk.config.strategies, "o": Strategy(equity_file=other), "p": Strategy()}
    desk.config = desk.config.model_copy(update={"strategies": strategies})
    desk.restart()

    def slow(curve: EquityCurve, path: Path, *rest: Any, **more: Any) -> Any:
        assert path == other or gate.wait(30)
        return read_curve(curve, path, *rest, **more)

    monkeypatch.setattr("exporter.strategies.equity_files.read_curve", slow)
    await desk.strategies.refresh(patience=0.05)
    await desk.strategies.post_equity("p", EquityPoint(START, 5))
    for _ in range(100):
        await desk.strategies.refresh(patience=0.05)
        if not math.isnan(desk.strategies.curves["o"].equity):
            break
    assert desk.strategies.curves["o"].equity == 7
    assert math.isnan(desk.strategies.curves["s"].equity)
    gate.set()
    await desk.read()
    assert desk.strategies.curves["s"].equity == 100


def test_a_large_file_out_of_order_is_sorted_in_small_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sort of a million rows would keep the whole process waiting; rows of one moment stay in
    the file's direction."""
    times = [START + 60 * (n % 50) for n in range(120)]
    random.Random(7).shuffle(times)
    times[0], times[-1] = START + 60 * 60, START - 60  # newest first
    path = tmp_path / "equity.csv"
    lines = [f"{at},{100 + n}" for n, at in enumerate(times)]
    path.write_text("timestamp,equity\n" + "\n".join(lines) + "\n")
    sizes: list[int] = []

    def noted(rows: Sequence[int], **more: Any) -> list[int]:
        sizes.append(len(rows))
        return sorted(rows, **more)

    seen: list[float] = []
    observe = EquityCurve.observe

    def noted_observe(curve: EquityCurve, point: EquityPoint, zone: ZoneInfo) -> EquityCurve:
        seen.append(point.equity)
        return observe(curve, point, zone)

    monkeypatch.setattr("exporter.strategies.read_curve.sorted", noted, raising=False)
    monkeypatch.setattr("exporter.strategies.read_curve._SORTED_AT_ONCE", 50)
    monkeypatch.setattr(EquityCurve, "observe", noted_observe)
    read_curve(
        EquityCurve(), path, EquityFilePosition(), Strategy(equity_file=path),
        zone=ZoneInfo("UTC"), latest=START + 86400,
    )  # fmt: skip
    assert sizes == [50, 50, 20]
    order = sorted(range(len(times) - 1, -1, -1), key=times.__getitem__)
    assert seen == [100 + n for n in order]


def test_reading_a_large_file_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each line, and again while its points become a curve."""
    rests: list[float] = []
    monkeypatch.setattr(give_way, "WORK_SECONDS", 0.0)
    clock = SimpleNamespace(thread_time=time.thread_time, sleep=rests.append)
    monkeypatch.setattr(give_way, "time", clock)
    path = tmp_path / "equity.csv"
    path.write_text("timestamp,equity\n" + "".join(f"{START + n},{n + 1}\n" for n in range(500)))
    read = read_curve(
        EquityCurve(), path, EquityFilePosition(), Strategy(equity_file=path),
        zone=ZoneInfo("UTC"), latest=START + 1000,
    )  # fmt: skip
    assert read.good == 500
    assert len(rests) >= 1000


def test_a_large_file_of_nonsense_is_counted_and_not_kept(tmp_path: Path) -> None:
    """24 MB of it took 300 MB of memory."""
    path = tmp_path / "equity.csv"
    with path.open("w") as file:
        file.write("timestamp,equity\n")
        file.writelines(f"{n} is no time,{'x' * 200}\n" for n in range(4_000))
    tracemalloc.start()
    read = read_curve(
        EquityCurve(), path, EquityFilePosition(), Strategy(equity_file=path),
        zone=ZoneInfo("UTC"), latest=START,
    )  # fmt: skip
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert read.bad == 4_000
    assert read.first_bad
    assert read.first_bad.line == 2
    assert held < 500_000


def in_currency(desk: Desk, currency: str) -> Config:
    strategy = desk.config.strategies["s"].model_copy(update={"currency": currency})
    return desk.config.model_copy(update={"strategies": {"s": strategy}})


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_curve_in_another_currency_begins_again_instead_of_showing_a_loss(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, restarts: bool
) -> None:
    """15,000,000 yen are no loss of 99 % once they are 100,000 dollars, and no peak of theirs."""
    desk = Desk(tmp_path, currency="JPY")
    desk.append("timestamp,equity\n2026-11-23,15000000\n2026-11-24,14500000\n")
    await desk.read()
    desk.config = in_currency(desk, "USD")
    if restarts:
        desk.restart()
    else:
        desk.strategies.apply(desk.config)
    summary = desk.strategies.summary("s")
    assert math.isnan(summary["equity"]) and math.isnan(summary["drawdown"])
    assert summary["problem"] == (
        "its currency was JPY and is USD now: equity, peak and drawdown begin again with the first "
        "equity after 2026-11-24T00:00:00Z"
    )
    assert "it had 1.45e+07 before, and its peak was 1.5e+07" in caplog.text
    desk.append("2026-11-25,100000\n")
    await desk.read()
    rewritten = tmp_path / "other"
    rewritten.write_text(desk.file.read_text() + "2026-11-26,95000\n")
    rewritten.replace(desk.file)  # what is in yen is read once more
    await desk.read()
    desk.restart()
    summary = desk.strategies.summary("s")
    assert (summary["equity"], summary["peak"], summary["problem"]) == (95000, 100000, None)
    assert summary["drawdown"] == pytest.approx(0.05)
    with pytest.raises(ValueError, match="is not newer than"):
        await desk.strategies.post_equity("s", EquityPoint(START, 14_000_000.0))


async def test_a_change_of_currency_that_is_taken_back_continues_the_curve(tmp_path: Path) -> None:
    """A slip in the config must not forget a peak, and with it a drawdown."""
    desk = Desk(tmp_path)
    desk.append("timestamp,equity\n2026-11-23,100000\n2026-11-24,90000\n")
    await desk.read()
    for currency in ("EUR", "USD"):
        desk.config = in_currency(desk, currency)
        desk.strategies.apply(desk.config)
    assert desk.value("drawdown_ratio") == pytest.approx(0.1)
    desk.config = in_currency(desk, "EUR")
    desk.restart()
    desk.append("2026-11-25,85000\n")
    await desk.read()
    desk.restart()
    desk.config = in_currency(desk, "USD")
    desk.restart()
    assert desk.value("drawdown_ratio") == pytest.approx(0.1)
    desk.append("2026-11-26,80000\n")
    await desk.read()
    assert desk.value("drawdown_ratio") == pytest.approx(0.2)
