"""type: python: a callable of the user, in a process of its own."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from exporter.sources.base import SourceError
from tests.unit.sources.own_sources import MINUTE, OwnSource


async def asked(
    tmp_path: Path, code: str, symbols: tuple[str, ...] = ("A",), interval: str = "1m", **more: Any
) -> tuple[Any, OwnSource]:
    """The answer of a source whose module has that code, and its bench."""
    bench = OwnSource(type="python", run=more.pop("run", "mine.py:bars"), **more)
    (tmp_path / "mine.py").write_text(f"M = {MINUTE}\n" + textwrap.dedent(code))
    async with bench.open(tmp_path, {"BROKER_KEY": "sk-42secret"}) as own:
        return await own.latest(symbols, interval), bench


SHAPES = {
    "dicts": "[dict(time=M - 60, open=1, high=2, low=1, close=2, volume=5)]",
    "tuples": "[(M - 60, 1, 2, 1, 2, 5)]",
    "milliseconds": "[[int(M - 60) * 1000, '1', '2', '1', '2', '5']]",
    "dataclasses": "[Bar('A', M - 60, 1, 2, 1, 2, 5)]",
    "named tuples": "[Named(M - 60, 1, 2, 1, 2, 5)]",
    "models of a library": "[Model()]",
    "by symbol": "{'A': [(M - 60, 1, 2, 1, 2, 5)], 'B': []}",
    "naming the symbol": "[dict(symbol='A', time=M - 60, open=1, high=2, low=1, close=2, "
    "volume=5)]",
    "aware datetimes": "[(datetime.fromtimestamp(M - 60, UTC), 1, 2, 1, 2, 5)]",
    "decimals": "[(M - 60, Decimal(1), Decimal(2), Decimal(1), Decimal('2.0'), 5)]",
    "a generator": "((M - 60, 1, 2, 1, 2, 5) for _ in range(1))",
    "a frame with times as its index": "pandas.DataFrame({'Open': [1.0], 'High': [2.0], 'Low': "
    "[1.0], 'Close': [2.0], 'Volume': [5]}, index=pandas.DatetimeIndex([pandas.Timestamp(M - 60, "
    "unit='s', tz='America/New_York')], name='Datetime'))",
    "a frame with symbol and time as its index": "pandas.DataFrame([['A', M - 60, 1, 2, 1, 2, 5]],"
    " columns=['symbol', 'time', *'open high low close volume'.split()]).set_index(['symbol',"
    "'time'])",
    "a frame of columns": "pandas.DataFrame([[M - 60, 1, 2, 1, 2, 5]], columns='time open high low"
    " close volume'.split())",
}
HEAD = """
from collections import namedtuple
from datetime import UTC, datetime
from decimal import Decimal
from exporter.tasks import Bar
Named = namedtuple("Named", "time open high low close volume")
class Model:
    def __init__(self):
        self.symbol, self.time, self.open = "A", M - 60, 1
        self.high, self.low, self.close, self.volume = 2, 1, 2, 5
"""


@pytest.mark.parametrize("shape", SHAPES)
async def test_bars_come_in_many_shapes(tmp_path: Path, shape: str) -> None:
    """Each is the same bar."""
    head = HEAD + ("import pandas\n" if "frame" in shape else "")
    code = head + f"def bars(symbols):\n    return {SHAPES[shape]}\n"
    answer, bench = await asked(tmp_path, code)
    assert answer.bad == {}
    (bar,) = answer.good["A"]
    assert (bar.symbol, bar.start, bar.open, bar.high, bar.low, bar.close, bar.volume) == (
        "A", MINUTE - 60, 1, 2, 1, 2, 5
    )  # fmt: skip
    assert bench.value("quant_fetch_requests_total", endpoint="bars") == 1
    assert bench.failures() == {}


async def test_a_callable_gets_what_it_names_and_a_class_is_made_once(tmp_path: Path) -> None:
    """By the names of its parameters, with the source's own names of symbols and intervals."""
    code = """
    class Mine:
        def __init__(self, venue):
            self.venue, self.calls = venue, 0
        async def bars(self, symbols, interval, start, end, limit=1):
            self.calls += 1
            assert (self.venue, symbols, interval) == ("x", ["BTC/USDT:USDT", "B"], "1min")
            assert end - start == 600 and limit == 10
            return {s: [(M - 60, self.calls, 9, 1, 2, 5)] for s in symbols}
    """
    (tmp_path / "mine.py").write_text(f"M = {MINUTE}\n" + textwrap.dedent(code))
    bench = OwnSource(
        type="python", run="mine:Mine", params={"venue": "x"}, intervals={"1m": "1min"},
        symbols={"BTCUSDT": "BTC/USDT:USDT"},
    )  # fmt: skip
    async with bench.open(tmp_path) as own:
        for call in (1, 2):
            answer = await own.latest(("BTCUSDT", "B"), "1m")
            assert answer.good["BTCUSDT"][0].open == call
            assert answer.good["BTCUSDT"][0].symbol == "BTCUSDT"
        with pytest.raises(SourceError, match="mine has no interval 5m: it has 1m"):
            await own.recent("B", "5m", 3)


async def test_a_callable_for_one_symbol_is_called_once_for_each(tmp_path: Path) -> None:
    """Each in a request of its own: one that fails costs no other, and each is in the budget."""
    code = """
    def bars(symbol):
        if symbol == "B":
            raise ConnectionError("no route")
        return [(M - 60, 1, 2, 1, 2, 5)]
    """
    answer, bench = await asked(tmp_path, code, ("A", "B"))
    assert [*answer.good] == ["A"]
    assert answer.bad["B"].reason == "connect"
    assert bench.value("quant_fetch_requests_total", endpoint="bars") == 2
    assert bench.failures() == {"connect": 1}


BAD = {
    "None": ("return None", "malformed", "it returned None: return bars, or an empty list"),
    "text": ("return 'no data'", "malformed", "it returned a str: return a list of bars"),
    "numbers": ("return [1, 2]", "malformed", "a bar is a int: return dicts, tuples"),
    "left out": ("return {'B': []}", "api", "the answer leaves A out"),
    "raises": ("raise ValueError('bad key sk-42secret')", "error", "ValueError: bad key ***"),
    "a timeout of a library": (
        "class ReadTimeout(Exception): pass\n    raise ReadTimeout('slow')", "timeout", "slow"),
    "a rate limit of a library": (
        "class RateLimitExceeded(Exception): pass\n    raise RateLimitExceeded()",
        "rate_limit", ""),
    "its own words": (
        "from exporter.tasks import SourceError\n    raise SourceError('quota', 'none left')",
        "quota", "none left"),
    "ends the process": ("import os; os._exit(3)", "error", "its process exited with 3"),
    "crashes": ("import os, signal; os.kill(os.getpid(), 11)", "error", "was killed by signal 11"),
    "leaves": ("raise SystemExit('enough')", "error", "SystemExit: enough"),
    "NaN": ("return [(M - 60, 1, 2, 1, float('nan'), 5)]", "malformed", "`close` is NaN"),
    "infinite": ("return [(M - 60, 1, 2, 1, float('inf'), 5)]", "malformed", "is infinite"),
    "no zone": ("return [('2026-09-21 10:00:00', 1, 2, 1, 2, 5)]", "malformed", "has no zone"),
    "from the future": ("return [(M + 7200, 1, 2, 1, 2, 5)]", "wrong_time", "in the future"),
    "another symbol's": ("return [{'symbol': 'X/A', 'time': M - 60}]", "malformed",
                         "its bars are of 'X/A', and not of a symbol that was asked for"),
    "a place is missing": ("return [(M - 60, 1, 2)]", "malformed", "`low` is missing"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
async def test_what_goes_wrong_is_an_outcome_with_its_reason(
    tmp_path: Path, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Counted as that of any other source, in the log, and without the secret."""
    body, reason, text = BAD[case]
    answer, bench = await asked(
        tmp_path, f"def bars(symbols):\n    {body}\n", secrets=["BROKER_KEY"]
    )
    assert answer.good == {}
    assert answer.bad["A"].reason == reason
    assert text in answer.bad["A"].message
    apart = reason == "wrong_time"  # the source itself works
    assert bench.failures() == ({} if apart else {reason: 1})
    if apart:
        assert bench.failures("quant_fetch_bad_symbols_total") == {reason: 1}
    assert "sk-42secret" not in caplog.text


async def test_a_time_without_a_zone_is_read_only_when_the_source_says_in_which(
    tmp_path: Path,
) -> None:
    """A guess could be hours off, and look like fresh data."""
    code = "def bars(symbols):\n    return [('2026-09-21 09:00:00', 1, 2, 1, 2, 5)]\n"
    answer, _ = await asked(tmp_path, code, timezone="America/New_York")
    assert answer.good["A"][0].start == 1_789_995_600.0  # 13:00 UTC
    answer, _ = await asked(tmp_path, code.replace(" 09:00:00", ""), interval="1d")
    assert answer.good["A"][0].start == 1_789_948_800.0  # the day itself, 00:00 UTC
    answer, _ = await asked(
        tmp_path, code.replace("2026-09-21 09:00:00", "21.09.2026 09:00"),
        timezone="America/New_York", time_format="%d.%m.%Y %H:%M",
    )  # fmt: skip
    assert answer.good["A"][0].start == 1_789_995_600.0


async def test_a_callable_that_hangs_is_ended_and_the_next_request_finds_a_new_one(
    tmp_path: Path,
) -> None:
    """With all that it started."""
    code = """
    import os, pathlib, subprocess, time
    here = pathlib.Path(__file__).parent
    def bars(symbols):
        if (here / "again").exists():
            return [(M - 60, 1, 2, 1, 2, 5)]
        sleeping = subprocess.Popen(["sleep", "60"])
        (here / "pids").write_text(f"{os.getpid()} {sleeping.pid}")
        (here / "again").touch()
        while True:
            pass
    """
    bench = OwnSource(type="python", run="mine:bars", timeout=2.0)
    (tmp_path / "mine.py").write_text(f"M = {MINUTE}\n" + textwrap.dedent(code))
    began = time.monotonic()
    async with bench.open(tmp_path) as own:
        answer = await own.latest(("A",), "1m")
        assert answer.bad["A"].reason == "timeout"
        assert answer.bad["A"].message == "no answer within 2 s; its process was ended"
        for pid in map(int, (tmp_path / "pids").read_text().split()):
            assert not alive(pid)
        assert (await own.latest(("A",), "1m")).good["A"][0].close == 2
    assert time.monotonic() - began < 20


async def test_what_escapes_from_a_callable_holds_nobody_up_and_is_ended_with_it(
    tmp_path: Path,
) -> None:
    """A process in a session of its own, whose parent has ended, and which has our pipes open."""
    code = """
    import os, pathlib, time
    def bars(symbols):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                (pathlib.Path(__file__).parent / "pid").write_text(str(os.getpid()))
                time.sleep(60)
            os._exit(0)
        time.sleep(60)
    """
    (tmp_path / "mine.py").write_text(textwrap.dedent(code))
    bench = OwnSource(type="python", run="mine:bars", timeout=1.0)
    began = time.monotonic()
    async with bench.open(tmp_path) as own:
        assert (await own.latest(("A",), "1m")).bad["A"].reason == "timeout"
    assert time.monotonic() - began < 20
    assert not alive(int((tmp_path / "pid").read_text()))


async def test_the_answer_is_that_of_the_process_that_was_asked(tmp_path: Path) -> None:
    """Not of a child that it forked, and not what the code writes to the same pipe."""
    code = """
    import os, time
    def bars(symbols):
        if os.fork() == 0:
            return {s: [(M - 60, 1, 2, 1, 1.1, 5)] for s in symbols}
        for fd in range(1, 20):
            try:
                os.write(fd, b'{"value": {"A": []}}\\n')
            except OSError:
                pass
        time.sleep(0.05)
        return {s: [(M - 60, 1, 2, 1, 2, 5)] for s in symbols}
    """
    (tmp_path / "mine.py").write_text(f"M = {MINUTE}\n" + textwrap.dedent(code))
    bench = OwnSource(type="python", run="mine:bars", timeout=20.0)
    async with bench.open(tmp_path) as own:
        for symbol in ("A", "B", "A"):
            assert [bar.close for bar in (await own.latest((symbol,), "1m")).good[symbol]] == [2]


def alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_it_sees_its_own_secrets_and_none_of_other_sources(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What it prints is in the log, masked."""
    code = """
    import os
    def bars(symbols):
        print("key", os.environ["BROKER_KEY"], flush=True)
        assert "TICKDB" not in os.environ
        return []
    """
    caplog.set_level(logging.INFO)
    bench = OwnSource(type="python", run="mine:bars", secrets=["BROKER_KEY"])
    (tmp_path / "mine.py").write_text(textwrap.dedent(code))
    environ = {"BROKER_KEY": "sk-42secret", "TICKDB": "not-for-it"}
    async with bench.open(tmp_path, environ, hidden={"TICKDB"}) as own:
        answer = await own.latest(("A",), "1m")
        assert answer.good == {"A": []}
        for _ in range(100):
            if "mine: key" in caplog.text:
                break
            await asyncio.sleep(0.02)
    assert "mine: key ***" in caplog.text
    assert "sk-42secret" not in caplog.text


async def test_a_failure_that_may_pass_is_tried_again_and_a_mistake_of_the_program_is_not(
    tmp_path: Path,
) -> None:
    """As with every source, within `retries`."""
    _, bench = await asked(tmp_path, "def bars(symbols):\n    raise OSError('busy')\n", retries=2)
    assert bench.value("quant_fetch_requests_total", endpoint="bars") == 3
    assert len(bench.slept) == 2
    answer, bench = await asked(tmp_path, "def bars(symbols):\n    return nothing\n", retries=2)
    assert bench.value("quant_fetch_requests_total", endpoint="bars") == 1
    assert answer.bad["A"].message == "NameError: name 'nothing' is not defined"
    answer, bench = await asked(tmp_path, "def bars(symbols, broker):\n    return []\n", retries=2)
    assert "needs 'broker', which is neither one of symbols, symbol" in answer.bad["A"].message
    assert bench.value("quant_fetch_requests_total", endpoint="bars") == 1


async def test_a_bar_with_only_a_time_says_how_fresh_data_is(tmp_path: Path) -> None:
    """`fields` says what there is; what it leaves out is unknown, not an error."""
    code = "def bars(symbols):\n    return [dict(ts=M - 60, px=1)]\n"
    answer, _ = await asked(tmp_path, code, fields={"time": "ts"})
    (bar,) = answer.good["A"]
    assert bar.start == MINUTE - 60
    assert math.isnan(bar.close)
    answer, _ = await asked(tmp_path, code, fields={"time": "ts", "close": "price"})
    assert "`close` is missing" in answer.bad["A"].message


async def test_the_process_ends_with_the_source(tmp_path: Path) -> None:
    """Nothing is left behind."""
    code = "import os\ndef bars(symbols):\n    return [(M - 60, os.getpid(), 1e9, 1, 2, 5)]\n"
    bench = OwnSource(type="python", run="mine:bars")
    (tmp_path / "mine.py").write_text(f"M = {MINUTE}\n{code}")
    async with bench.open(tmp_path) as own:
        pid = int((await own.latest(("A",), "1m")).good["A"][0].open)
        assert alive(pid)
        assert pid != os.getpid()
    assert not alive(pid)
