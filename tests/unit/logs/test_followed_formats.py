"""Logs of other programs, as those write them: each line once, and what it says is found."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from exporter.config import Followed
from exporter.logs.tail.json_lines import json_as_text
from exporter.logs.tail.line_patterns import matching_lines, searchable
from exporter.logs.tail.utf16 import WideSplitter
from exporter.util.linear_regex import compile_linear
from tests.unit.logs.followed import Bot, Kept, add

ESC = chr(27)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bot.log"


def text_of(record: Any, message_key: str | None = None) -> str:
    """What a line is searched as."""
    line = record if isinstance(record, str) else json.dumps(record)
    text, _ = json_as_text(line.encode() + b"\n", message_key)
    return searchable(text).decode().rstrip("\n")


@pytest.mark.parametrize(
    ("record", "text"),
    [
        # Docker's json-file driver.
        ({"log": "10:00 - ERROR - not available\n", "stream": "stderr", "time": "T"},
         "  10:00 - ERROR - not available"),
        # The same around a program that writes JSON itself.
        ({"log": '{"level":50,"name":"bot","msg":"order failed"}\n', "stream": "stderr"},
         "error bot order failed"),
        # journalctl -o json; a message with colours is a list of bytes there.
        ({"PRIORITY": "3", "SYSLOG_IDENTIFIER": "bot", "MESSAGE": "Timeout"}, "error bot Timeout"),
        ({"PRIORITY": "4", "MESSAGE": list(f"{ESC}[31mTimeout{ESC}[0m".encode())},
         "warning  Timeout"),
        # Rust's tracing, pino and bunyan, Python's, GELF, ECS, zap, structlog, Loguru.
        ({"level": "ERROR", "fields": {"message": "Timeout"}, "target": "bot::http"},
         "ERROR bot::http Timeout"),
        ({"level": 50, "name": "mm-bot", "msg": "order failed"}, "error mm-bot order failed"),
        ({"level": 60, "name": "mm-bot", "msg": "gone"}, "fatal mm-bot gone"),
        ({"levelno": 40, "name": "bot", "message": "m"}, "error bot m"),
        ({"level": 3, "short_message": "m", "host": "h"}, "error  m"),
        ({"log.level": "error", "message": "m"}, "error  m"),
        ({"log": {"level": "error", "logger": "bot"}, "message": "m"}, "error bot m"),
        ({"level": "error", "logger": "bot", "msg": "m"}, "error bot m"),
        ({"level": "error", "event": "m"}, "error  m"),
        ({"text": "whole", "record": {"level": {"name": "ERROR"}, "name": "b", "message": "m"}},
         "ERROR b m"),
        # The message says where, another field says what: zerolog and zap, pino, ECS, Python.
        ({"level": "error", "message": "place order", "error": "Timeout"},
         "error  place order Timeout"),
        ({"level": "error", "logger": "bot", "message": "failed", "error": "failed"},
         "error bot failed"),
        ({"level": "error", "logger": "bot", "message": "m", "error": "EOF"}, "error bot m EOF"),
        ({"level": 50, "msg": "m", "err": {"type": "Error", "message": "Timeout", "stack": "s"}},
         "error  m Error Timeout"),
        ({"levelname": "ERROR", "name": "b", "message": "m", "exc_info": "Traceback\nKeyError: 1"},
         "ERROR b m Traceback KeyError: 1"),
        ({"level": "error", "fields": {"message": "m", "error": "EOF"}}, "error  m EOF"),
        # What caused it: log4j and Node, structlog's dict_tracebacks, Loguru.
        ({"level": "ERROR", "message": "m", "thrown": {
            "name": "E", "message": "order", "cause": {"name": "F", "message": "refused"}}},
         "ERROR  m E order F refused"),
        ({"level": "error", "event": "m", "exception": [
            {"exc_type": "E", "exc_value": "refused", "frames": [{}]}, {"exc_type": "F"}]},
         "error  m E refused F"),
        ({"text": "t", "record": {"level": {"name": "ERROR"}, "name": "b", "message": "m",
                                  "exception": {"type": "E", "value": "refused"}}},
         "ERROR b m E refused"),
        ({"level": "error", "msg": "m", "err": json.loads(('{"cause": ' * 50) + "1" + "}" * 50)},
         "error  m"),
        ({"level": "info", "name": "b", "message": "m", "error": None}, "info b m"),
        ({"level": "info", "name": "b", "message": "m", "error": False, "err": {}}, "info b m"),
        # Colours around the level.
        ({"level": f"{ESC}[31merror{ESC}[39m", "message": "m"}, "error  m"),
        ({"message": ""}, "  "),
        # Nothing that is known: the line itself.
        ({"reason": "Timeout", "lvl": "x"}, '{"reason": "Timeout", "lvl": "x"}'),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
        ('bot-1  | {"level":"error"}', 'bot-1  | {"level":"error"}'),
    ],
)  # fmt: skip
def test_a_line_of_json_is_searched_as_level_logger_and_message(record: Any, text: str) -> None:
    """Whatever the program calls them; what is not recognised is searched as it stands."""
    assert text_of(record) == text


@pytest.mark.parametrize("key", ["reason", "data.reason", "a.b"])
def test_message_key_names_the_field(key: str) -> None:
    """With dots for objects within objects, or in its name; where it is missing, the whole line."""
    record = {"reason": "R", "data": {"reason": "R"}, "a.b": "R", "message": "M", "level": "error"}
    assert text_of(record, key) == "error  R"
    assert text_of({"message": "M"}, key) == '{"message": "M"}'


def test_message_key_needs_json() -> None:
    """It would do nothing."""
    with pytest.raises(ValidationError, match="add `format: json`"):
        Followed(path=Path("x"), message_key="reason")


async def test_a_traceback_in_a_json_log_is_found_and_counted_as_broken(path: Path) -> None:
    """A crash writes it there, and it is the line that matters most."""
    path.touch()
    bot = Bot(path, Kept(), format="json", patterns={"failed": "Traceback|Error"})
    await bot.counts()
    add(path, b'{"level":"info","message":"started"}\nTraceback (most recent call last):\n'
              b'  File "bot.py", line 3\nZeroDivisionError: division by zero\n')  # fmt: skip
    assert await bot.counts() == (4, 2)
    assert bot.registry.get_sample_value("quant_log_broken_total", {"file": "bot"}) == 3


async def test_colours_do_not_hide_a_level(path: Path) -> None:
    """In a text file neither."""
    path.touch()
    bot = Bot(path, Kept(), patterns={"failed": "^ERROR "})
    await bot.counts()
    add(path, f"{ESC}[1;31mERROR{ESC}[0m no connection\n".encode())
    assert await bot.counts() == (1, 1)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", ["\ufeff", ""])
async def test_utf16_is_read(path: Path, encoding: str, mark: str) -> None:
    """As MetaTrader 5 writes it: with a mark or without, in pieces, also after a restart."""
    path.write_bytes((mark + "before no connection\r\n").encode(encoding))
    state = Kept()
    bot = Bot(path, state, patterns={"failed": "no connection$"})
    await bot.counts()
    added = "RK\t0\tno connection\r\nĊ \u0a0a\u0a0d no connection\r\nok\r\n".encode(encoding)
    for piece in (added[:5], added[5:44], added[44:]):
        add(path, piece)
        await bot.counts()
    assert await bot.counts() == (3, 2)
    await bot.follower.stop()
    add(path, added)
    assert await Bot(path, state, patterns={"failed": "no connection$"}).counts() == (3, 2)


@pytest.mark.parametrize(
    "pieces",
    [
        (b"\xff", b"\xfeT", b"\0", "imeout\r\n".encode("utf-16-le")),
        ("\ufeffTimeout\r\n".encode("utf-16-le"),),
    ],
)
async def test_utf16_in_a_file_that_was_empty_is_read(path: Path, pieces: list[bytes]) -> None:
    """The exporter often starts first; the first lines come in pieces, or at once."""
    path.touch()
    bot = Bot(path, Kept())
    await bot.counts()
    for piece in pieces:
        add(path, piece)
        await bot.counts()
    assert await bot.counts() == (1, 1)


@given(
    lines=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\n\ufeff"), max_size=9)
    ),
    cuts=st.lists(st.integers(1, 9), min_size=1),
)
def test_utf16_is_cut_into_lines_wherever_it_is_read(lines: list[str], cuts: list[int]) -> None:
    """Half a character, half a line feed, characters that have the byte of a line feed."""
    for encoding in ("utf-16-le", "utf-16-be"):
        content = "".join(f"{line}\n" for line in lines).encode(encoding)
        splitter, blocks, at = WideSplitter(encoding, 0), b"", 0
        while at < len(content):
            size = cuts[at % len(cuts)]
            blocks += splitter.whole(content[at : at + size])
            at += size
        assert blocks.decode() == "".join(f"{line}\n" for line in lines)


def rsynced(path: Path, lines: list[bytes]) -> None:
    """Another file with more lines is put in its place."""
    new = path.with_name(".bot.log.Xy12")
    new.write_bytes(b"".join([*lines, b"7 Timeout\n"]))
    new.rename(path)


def capped(path: Path, lines: list[bytes]) -> None:
    """The oldest lines are taken out of the same file."""
    path.write_bytes(b"".join([*lines[3:], b"7 Timeout\n"]))


def capped_into_another(path: Path, lines: list[bytes]) -> None:
    """As ``tail -n 3 bot.log > new; mv new bot.log`` does."""
    new = path.with_name("new")
    new.write_bytes(b"".join([*lines[3:], b"7 Timeout\n"]))
    new.rename(path)


def compacted(path: Path, lines: list[bytes]) -> None:
    """Every second line is taken out, but not the newest ones."""
    path.write_bytes(b"".join([lines[0], lines[2], *lines[4:], b"7 Timeout\n"]))


def copied_back(path: Path, lines: list[bytes]) -> None:
    """The folder was moved to another disk and back."""
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)
    add(path, b"7 Timeout\n")


@pytest.mark.parametrize("down", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("change", [rsynced, capped, capped_into_another, compacted, copied_back])
async def test_each_line_counts_once_when_the_file_is_made_anew(
    path: Path, change: Callable[[Path, list[bytes]], None], down: bool
) -> None:
    """With the lines that were read before in it."""
    path.touch()
    state = Kept()
    bot = Bot(path, state)
    await bot.counts()
    lines = [f"{n} Timeout while fetching candles of symbol {n}\n".encode() for n in range(6)]
    add(path, b"".join(lines))
    assert await bot.counts() == (6, 6)
    expected = 7
    if down:
        await bot.follower.stop()
        bot, expected = Bot(path, state), 1
    change(path, lines)
    await bot.counts()
    assert await bot.counts() == (expected, expected)


async def test_the_same_line_again_and_again_counts_when_the_file_was_cut(path: Path) -> None:
    """It does not tell what was read before."""
    path.write_bytes(b"-\n")
    bot = Bot(path, Kept())
    await bot.counts()
    add(path, b"Timeout\n" * 40)
    await bot.counts()
    path.write_bytes(b"Timeout\n" * 20)
    assert await bot.counts() == (60, 60)


@pytest.mark.parametrize(
    ("pattern", "advice"),
    [
        ("(?=.*Timeout)x", "look-ahead is not supported"), ("(?<!not )found", "look-behind"),
        (r"(\w+) \1", "back references"), ("(?>a)", "an atomic group"), ("a++", "write one sign"),
        ("a{,3}", "write {0,3}"), ("a{2000}", "1000 at most"), (r"x\Z", "write $"),
        ("(?x)a b", "verbose"), ("[a", "missing ]"), ("a)", "unexpected )"),
    ],
)  # fmt: skip
def test_a_pattern_that_cannot_run_in_linear_time_is_a_mistake(pattern: str, advice: str) -> None:
    """With what to write instead."""
    with pytest.raises(ValidationError) as error:
        Followed(path=Path("x"), patterns={"p": pattern})
    assert advice in str(error.value)


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(.*)*x", "^(\\s*a\\s*)*$", "(a|aa)+$"])
def test_no_pattern_holds_up_the_exporter(pattern: str) -> None:
    """Python's own would take longer than anybody waits."""
    compiled = compile_linear(pattern)
    block = (b"a" * 16_000 + b"!\n") * 4
    began = time.thread_time()
    assert matching_lines(compiled, block) == 0
    assert time.thread_time() - began < 1.0
