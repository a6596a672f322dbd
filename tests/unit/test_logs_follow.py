"""Other programs' log files are counted exactly once, whatever becomes of them."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from exporter.config import Followed
from exporter.logs.follow import Follower, matching_lines
from exporter.logs.tail import LONGEST_LINE, Position, Tail
from exporter.metrics import Metrics

PATTERNS = {"failed": r"Request failed|Timeout", "numbers": r"^\d+ .*end$"}


class Kept:
    """As much of the state as a follower needs."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def kept(self, kind: str) -> Mapping[str, Any]:
        return json.loads(json.dumps(self.values))

    async def keep(self, kind: str, name: str, value: dict[str, Any]) -> None:
        self.values[name] = value

    async def forget(self, kind: str, name: str) -> None:
        self.values.pop(name, None)


class Bot:
    """A follower of one file."""

    def __init__(self, path: Path, state: Kept, **config: Any) -> None:
        self.registry = CollectorRegistry()
        self.follower = Follower(state, Metrics(self.registry))
        self.follower.apply({"bot": Followed(path=path, **({"patterns": PATTERNS} | config))})

    async def counts(self) -> tuple[float | None, float | None]:
        """Lines and failures up to now."""
        await self.follower.step()
        value = self.registry.get_sample_value
        return (
            value("quant_log_followed_lines_total", {"file": "bot"}),
            value("quant_log_matches_total", {"file": "bot", "pattern": "failed"}),
        )


def add(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bot.log"


async def test_what_was_there_before_is_not_counted(path: Path) -> None:
    """A file that is new in the config is read from its present end, series are there at once."""
    path.write_bytes(b"Timeout\n" * 5 + b"Time")
    bot = Bot(path, Kept())
    assert await bot.counts() == (0, 0)
    add(path, b"out\nfine\n")
    assert await bot.counts() == (2, 1)


async def test_a_file_that_appears_later_is_read_from_its_start(path: Path) -> None:
    """And a line counts once it is whole."""
    bot = Bot(path, Kept())
    assert await bot.counts() == (0, 0)
    path.write_bytes(b"Request failed\nTime")
    assert await bot.counts() == (1, 1)
    add(path, b"out\n")
    assert await bot.counts() == (2, 2)


async def test_a_rotated_file_is_read_to_its_end(path: Path) -> None:
    """Lines that came between the last look and the rotation count too."""
    path.touch()
    bot = Bot(path, Kept())
    await bot.counts()
    add(path, b"Timeout 1\n")
    path.rename(path.with_suffix(".1"))
    add(path.with_suffix(".1"), b"Timeout 2\n")
    assert await bot.counts() == (2, 2)
    path.write_bytes(b"Timeout 3\n")
    assert await bot.counts() == (3, 3)


@pytest.mark.parametrize("longer", [False, True])
async def test_a_cut_file_is_read_from_its_start(path: Path, longer: bool) -> None:
    """As copytruncate leaves it, also when it has already grown beyond where it was."""
    path.touch()
    bot = Bot(path, Kept())
    await bot.counts()
    add(path, b"Timeout before\n" * 3)
    assert await bot.counts() == (3, 3)
    path.write_bytes(b"Timeout after\n" * (30 if longer else 2))
    assert await bot.counts() == (33 if longer else 5, 33 if longer else 5)


async def test_a_restart_goes_on_where_it_stopped(path: Path) -> None:
    """Also in the middle of a line, and also when the file was rotated meanwhile."""
    path.touch()
    state = Kept()
    bot = Bot(path, state)
    await bot.counts()
    add(path, b"Timeout\nTime")
    assert await bot.counts() == (1, 1)
    await bot.follower.stop()
    add(path, b"out\nTimeout\n")
    path.rename(path.with_suffix(".1"))
    path.write_bytes(b"Timeout\n")
    assert await Bot(path, state).counts() == (3, 3)


async def test_an_inode_that_was_used_again_is_no_old_friend(path: Path) -> None:
    """The beginning of the file tells."""
    path.write_bytes(b"Timeout\n" * 3)
    status = path.stat()
    state = Kept()
    state.values["bot"] = Position(status.st_dev, status.st_ino, 16, b"other".hex()).to_json()
    assert await Bot(path, state).counts() == (3, 3)


async def test_a_burst_and_bad_bytes_are_counted(path: Path) -> None:
    """Many megabytes at once, with bytes that are no UTF-8 between them."""
    path.touch()
    bot = Bot(path, Kept())
    await bot.counts()
    lines = 100_000
    add(path, (b"\xff\xfe\x00 fine line without anything\n" * 9 + b"x Timeout\n") * (lines // 10))
    assert await bot.counts() == (lines, lines // 10)
    assert bot.registry.get_sample_value("quant_log_behind_bytes", {"file": "bot"}) == 0


async def test_json_lines_are_looked_through_by_their_message(path: Path) -> None:
    """Names of fields match nothing; Loguru's nesting is understood; broken lines are counted."""
    path.touch()
    bot = Bot(path, Kept(), format="json")
    await bot.counts()
    lines = [
        {"level": "info", "message": "fine", "Timeout": 1},
        {"level": "error", "message": "Request failed\nTimeout"},
        {"text": "x", "record": {"level": {"name": "ERROR"}, "message": "Timeout"}},
        {"record": 5, "message": None},
    ]
    add(path, b"".join(json.dumps(line).encode() + b"\n" for line in lines) + b"{half\n[1]\n\n")
    assert await bot.counts() == (7, 2)
    assert bot.registry.get_sample_value("quant_log_broken_total", {"file": "bot"}) == 2


async def test_a_reload_keeps_the_place_and_drops_what_is_gone(path: Path) -> None:
    """A new pattern starts to count; a file that is no longer named has no series."""
    path.touch()
    bot = Bot(path, Kept())
    await bot.counts()
    add(path, b"Timeout\n")
    bot.follower.apply({"bot": Followed(path=path, patterns={"late": "Time"})})
    await bot.follower.step()
    value = bot.registry.get_sample_value
    assert value("quant_log_matches_total", {"file": "bot", "pattern": "late"}) == 1
    bot.follower.apply({})
    await bot.follower.step()
    assert value("quant_log_followed_lines_total", {"file": "bot"}) is None


def test_an_endless_line_is_cut_and_the_next_one_is_whole(path: Path) -> None:
    """It does not fill the memory."""
    path.touch()
    tail = Tail(lambda: path)
    assert list(tail.lines()) == []
    add(path, b"a\n" + b"x" * (3 * LONGEST_LINE) + b"\nb\n")
    lines = list(tail.lines())
    assert (lines[0], lines[-1], len(lines)) == (b"a", b"b", 3)
    assert LONGEST_LINE <= len(lines[1]) < 2 * LONGEST_LINE


@given(
    lines=st.lists(
        st.sampled_from(["Timeout", "a end", "1 end", "12 x end", "", "end", "é ", "1 "])
    ),
    pattern=st.sampled_from(
        [r"Timeout", r"^\d+ .*end$", r"1\s+", r"[^a]end", r"^$", r"end\s", r"é"]
    ),
)
def test_blocks_are_counted_as_single_lines_would_be(lines: list[str], pattern: str) -> None:
    """Also by patterns that can reach over a line's end."""
    block = "".join(line + "\n" for line in lines).encode()
    compiled = re.compile(pattern.encode(), re.MULTILINE)
    one_by_one = sum(bool(compiled.search(line.encode())) for line in lines)
    assert matching_lines(compiled, block) == one_by_one


async def test_chance_never_stops_a_follower(path: Path) -> None:
    """Writes, cuts, rotations, removals, folders and archives in the file's place, at random."""
    chance = random.Random(3)
    path.touch()
    bot, archives = Bot(path, Kept(), format="json"), 0
    for number in range(300):
        match chance.randrange(8):
            case 0:
                path.unlink(missing_ok=True)
            case 1 if path.exists():
                os.truncate(path, chance.randrange(path.stat().st_size + 1))
            case 2 if path.exists():
                path.rename(path.with_suffix(f".{number}"))
            case 3:
                add(path, gzip.compress(chance.randbytes(50)))
                archives += 1
            case _:
                add(path, chance.randbytes(chance.randrange(3000)))
        await bot.counts()
    path.unlink(missing_ok=True)
    path.mkdir()
    await bot.counts()
    path.rmdir()
    path.write_bytes(b'{"message":"Timeout"}\n')
    before = (await bot.counts())[1]
    add(path, b'{"message":"Timeout"}\n')
    assert (await bot.counts())[1] == (before or 0) + 1
    assert archives > 10
