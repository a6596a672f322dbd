"""Other programs' log files are counted exactly once, whatever becomes of them."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config import Followed
from exporter.logs.tail import follow
from exporter.logs.tail.line_patterns import LONGEST_SEARCHED, matching_lines, searchable
from exporter.logs.tail.line_splitter import LONGEST_LINE
from exporter.logs.tail.position import TailPosition
from exporter.logs.tail.tail import Tail
from exporter.util.linear_regex import compile_linear
from tests.unit.logs.followed import Bot, Kept, add


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


@pytest.mark.parametrize("restart", [False, True])
async def test_a_file_that_appears_and_is_rotated_before_a_look_counts(
    path: Path, restart: bool
) -> None:
    """What was rotated before is left out, but for what its writer still adds to it."""
    old, state = path.with_name("bot.log.2"), Kept()
    old.write_bytes(b"Timeout of yesterday\n")
    bot = Bot(path, state)
    assert await bot.counts() == (0, 0)
    if restart:
        await bot.follower.stop()
        bot = Bot(path, state)
    path.write_bytes(b"Timeout 1\n")
    path.rename(path.with_name("bot.log.1"))
    add(old, b"Timeout of a writer that goes on\n")
    path.write_bytes(b"Timeout 2\n")
    assert await bot.counts() == (3, 3)


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


@pytest.mark.parametrize("head", [b"", b"# " + b"the same head line in each file " * 4 + b"\n"])
@pytest.mark.parametrize("longer", [False, True])
async def test_a_cut_file_is_read_from_its_start(path: Path, longer: bool, head: bytes) -> None:
    """As copytruncate leaves it, also when it has already grown beyond where it was, and when it
    starts with the same line."""
    path.touch()
    bot, heads = Bot(path, Kept()), bool(head)
    await bot.counts()
    add(path, head + b"Timeout before\n" * 3)
    assert await bot.counts() == (3 + heads, 3)
    path.write_bytes(head + b"Timeout after\n" * (30 if longer else 2))
    after = 30 if longer else 2
    assert await bot.counts() == (3 + after + 2 * heads, 3 + after)


@pytest.mark.parametrize(
    ("first", "second"),
    [("bot.log.2", "bot.log.1"), ("bot.log-20261123", "bot.log-20261124"),
     ("bot.2026-11-23_00-00-00_000001.log", "bot.2026-11-24_00-00-00_000001.log")],
)  # fmt: skip
@pytest.mark.parametrize("restart", [False, True])
async def test_what_was_rotated_twice_since_the_last_look_counts_too(
    path: Path, first: str, second: str, restart: bool
) -> None:
    """In the order in which it was written; files that only look similar do not count."""
    path.touch()
    state = Kept()
    bot = Bot(path, state)
    add(path, b"Timeout 1\n")
    path.with_name("bot.log.err").write_bytes(b"Timeout\n")
    before = await bot.counts()
    if restart:
        await bot.follower.stop()
        bot, before = Bot(path, state), (0, 0)
    add(path, b"Timeout 2\n")
    path.rename(path.with_name(first))
    path.write_bytes(b"Timeout 3\nTime")
    add(path, b"out 4\n")
    path.rename(path.with_name(second))
    path.with_name("bot.log.pos").write_bytes(b"Timeout\n")
    path.with_name("other.log.1").write_bytes(b"Timeout\n")
    path.write_bytes(b"Timeout 5\n")
    assert await bot.counts() == (before[0] + 4, before[1] + 4)


async def test_a_file_that_cannot_be_read_is_said_and_heals(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with the reason, and in metrics; a file in its place is read from its start."""
    path.mkdir()
    bot = Bot(path, Kept())
    readable = ("quant_log_followed_readable", {"file": "bot"})
    for _ in range(3):
        await bot.counts()
    assert bot.registry.get_sample_value(*readable) == 0
    (said,) = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert said == f"bot: {path} cannot be read: Is a directory"
    path.rmdir()
    await bot.counts()
    path.write_bytes(b"Timeout\n")
    assert await bot.counts() == (1, 1)
    assert bot.registry.get_sample_value(*readable) == 1


async def test_what_goes_wrong_once_does_not_end_the_following(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug or a fault in one step is said; the next step goes on."""
    bot, steps = Bot(path, Kept()), 0
    file_step = follow.File.step

    def step(file: follow.File) -> follow.Counted:
        nonlocal steps
        steps += 1
        if steps == 1:
            raise RuntimeError("a bug")
        return file_step(file)

    monkeypatch.setattr(follow.File, "step", step)
    monkeypatch.setattr(follow, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(follow, "KEEP_SECONDS", 0.0)
    bot.follower.start()
    while steps < 3:
        await asyncio.sleep(0.001)
    path.write_bytes(b"Timeout\n")
    begun = steps
    while steps < begun + 2:  # one that began before the write may not have seen it
        await asyncio.sleep(0.001)
    await bot.follower.stop()
    assert bot.value() == 1


async def test_another_path_under_the_same_name_is_another_file(path: Path) -> None:
    """It is read from its present end, not from where the old one was."""
    path.write_bytes(b"Timeout\n")
    state = Kept()
    bot = Bot(path, state)
    await bot.counts()
    await bot.follower.stop()
    other = path.with_name("other.log")
    other.write_bytes(b"Timeout\n" * 5)
    assert await Bot(other, state).counts() == (0, 0)


def test_a_limit_needs_both_patterns(path: Path) -> None:
    """A share of what, otherwise?"""
    with pytest.raises(ValueError, match="add both"):
        Followed(path=path, patterns={"fetch_failed": "x"}, max_failure_ratio={"warning": "20%"})
    both = {"fetch_failed": "x", "fetch_ok": "y"}
    bot = Bot(path, Kept(), patterns=both, max_failure_ratio={"warning": "20%"})
    labels = {"file": "bot", "severity": "warning"}
    assert bot.registry.get_sample_value("quant_log_failure_limit_ratio", labels) == 0.2


STEPS = st.sampled_from(
    ["write", "half", "look", "rotate", "turn off", "kill", "kill while reading"]
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEPS, max_size=30))
def test_each_line_is_counted_once_through_rotations_restarts_and_kills(steps: list[str]) -> None:
    """However writes, rotations, orderly stops and kills come one after another."""
    with tempfile.TemporaryDirectory() as folder:
        written, counted = asyncio.run(_life(Path(folder) / "bot.log", steps))
    assert counted == written


async def _life(path: Path, steps: list[str]) -> tuple[int, float]:
    """Lines written, and lines counted by all followers together."""
    path.touch()
    state, counted, written, half = Kept(), 0.0, 0, False
    bot = Bot(path, state)
    await bot.counts()
    for number, step in enumerate(steps):
        match step:
            case "write":
                add(path, b"Timeout %d\n" % number)
                written, half = written + 1, False
            case "half":
                add(path, b"Tim")
                half = True
            case "rotate":
                if half:
                    add(path, b"\n")
                    written, half = written + 1, False
                for old in range(9, 0, -1):
                    if (there := path.with_name(f"bot.log.{old}")).exists():
                        there.rename(path.with_name(f"bot.log.{old + 1}"))
                path.rename(path.with_name("bot.log.1"))
                path.touch()
            case "look":
                await bot.counts()
            case _:
                if step == "turn off":
                    await bot.follower.stop()
                elif step == "kill while reading":
                    await bot.follower._read_new()
                counted += bot.value() or 0
                bot = Bot(path, state)
                await bot.counts()
    add(path, b"\n")
    await bot.counts()
    return written + 1, counted + (bot.value() or 0)


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
    state.values["bot"] = TailPosition(status.st_dev, status.st_ino, 16, b"other".hex()).to_json()
    assert await Bot(path, state).counts() == (3, 3)


async def test_a_burst_and_bad_bytes_are_counted(path: Path) -> None:
    """Many megabytes at once, with bytes that are no UTF-8 between them."""
    path.touch()
    bot = Bot(path, Kept())
    await bot.counts()
    lines = 100_000
    add(path, (b"\x80\xfe\x00 fine line without anything\n" * 9 + b"x Timeout\n") * (lines // 10))
    assert await bot.counts() == (lines, lines // 10)
    assert bot.registry.get_sample_value("quant_log_lag_bytes", {"file": "bot"}) == 0


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
    """A new pattern starts to count; what is no longer named, file or pattern, has no series."""
    path.touch()
    bot = Bot(path, Kept())
    await bot.counts()
    add(path, b"Timeout\n")
    bot.follower.apply({"bot": Followed(path=path, patterns={"late": "Time"})})
    await bot.follower.step()
    value = bot.registry.get_sample_value
    assert value("quant_log_matches_total", {"file": "bot", "pattern": "late"}) == 1
    assert value("quant_log_matches_total", {"file": "bot", "pattern": "failed"}) is None
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
    one_by_one = sum(bool(re.search(pattern.encode(), line.encode())) for line in lines)
    assert matching_lines(compile_linear(pattern), block) == one_by_one


def test_patterns_are_not_looked_for_in_the_far_end_of_a_line() -> None:
    """Short lines around it stay as they are."""
    block = b"Timeout\n" + b"a" * (3 * LONGEST_SEARCHED) + b"Timeout\nTimeout\n"
    cut = searchable(block)
    assert len(cut) < len(block)
    assert matching_lines(compile_linear("Timeout"), cut) == 2
    assert searchable(block[:8] * 5000) == block[:8] * 5000


@settings(max_examples=40, deadline=None)
@given(
    chunks=st.lists(
        st.binary(max_size=300)
        | st.sampled_from(
            [b"\n", b'{"message":"Timeout"}\n', b"\xff\xfe", b"\x00" * 70, b'{"a":' * 2000]
        )
    ),
    form=st.sampled_from(["json", "text"]),
)
def test_whatever_bytes_are_written_each_line_feed_is_counted(
    chunks: list[bytes], form: str
) -> None:
    """Binary, half JSON, deep nesting: nothing in a file stops a follower."""

    async def count(path: Path) -> float | None:
        path.touch()
        bot = Bot(path, Kept(), format=form)
        for chunk in [b"-\n", *chunks]:  # the first line says that it is not UTF-16
            await bot.counts()
            add(path, chunk)
        return (await bot.counts())[0]

    with tempfile.TemporaryDirectory() as folder:
        assert asyncio.run(count(Path(folder) / "bot.log")) == 1 + b"".join(chunks).count(b"\n")


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
