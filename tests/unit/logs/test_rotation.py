"""Whichever way a program or logrotate turns its files, each line is counted once."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from exporter.config import Followed
from exporter.logs.tail import tail as tails
from exporter.logs.tail.line_splitter import LONGEST_LINE
from exporter.logs.tail.tail import GONE_LOOKS, Tail
from tests.unit.logs.test_follow import Bot, Kept, add


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bot.log"


async def new(path: Path, state: Kept | None = None, **config: Any) -> Bot:
    """A follower that has had its first look."""
    bot = Bot(path, state or Kept(), **config)
    await bot.counts()
    return bot


async def stopped_after_a_line(path: Path) -> Kept:
    """What a follower kept that read one line of a new file, and was stopped."""
    path.touch()
    state = Kept()
    bot = await new(path, state)
    add(path, b"1\n")
    await bot.counts()
    await bot.follower.stop()
    return state


async def lines(bot: Bot) -> float | None:
    return (await bot.counts())[0]


async def test_of_files_with_the_day_in_their_name_the_newest_is_followed(tmp_path: Path) -> None:
    """As Loguru makes them: a new name each day, parts that its size turned, archives; a file of
    another kind beside them is left alone."""
    state = Kept()
    wanted = tmp_path / "quant_????-??-??.log"
    first, second = tmp_path / "quant_2026-11-23.log", tmp_path / "quant_2026-11-24.log"
    (tmp_path / "quant_2026-11-20.log").write_bytes(b"long ago\n" * 9)
    os.utime(tmp_path / "quant_2026-11-20.log", (1, 1))
    first.write_bytes(b"before\n" * 5)
    bot = await new(wanted, state)
    add(first, b"1\n2\n")
    assert await lines(bot) == 2
    add(first, b"3\n")
    first.rename(tmp_path / "quant_2026-11-23.2026-11-23_10-00-00_123456.log")
    add(first, b"4\n")
    (tmp_path / "quant_errors.log").write_bytes(b"an error\n" * 3)
    assert await lines(bot) == 4
    add(first, b"5\n")
    second.write_bytes(b"6\n")
    (tmp_path / "quant_2026-11-19.log.zip").write_bytes(b"PK\n\n\n")
    assert await lines(bot) == 6
    await bot.follower.stop()
    add(second, b"7\n")
    (tmp_path / "quant_2026-11-25.log").write_bytes(b"8\n9\n")
    assert await lines(Bot(wanted, state)) == 3


async def test_a_file_that_came_while_nobody_looked_is_read_from_its_start(path: Path) -> None:
    """It was known that there was none: after a restart, and after a reload."""
    state = Kept()
    bot = await new(path, state)
    await bot.follower.stop()
    path.write_bytes(b"1\n2\n")
    bot = Bot(path, state)
    assert await lines(bot) == 2
    other = path.with_name("other.log")
    bot.follower.apply({"bot": Followed(path=other)})
    assert await lines(bot) == 2
    bot.follower.apply({"bot": Followed(path=other, patterns={"failed": "Timeout"})})
    other.write_bytes(b"3\n")
    assert await lines(bot) == 3


async def test_a_path_with_wildcards_may_mean_nothing_yet(tmp_path: Path) -> None:
    """What appears later is read from its start, and the metrics say that nothing is there."""
    bot = await new(tmp_path / "quant_*.log")
    readable = ("quant_log_followed_readable", {"file": "bot"})
    assert bot.registry.get_sample_value(*readable) == 0
    (tmp_path / "quant_1.log").write_bytes(b"1\n2\n")
    assert await lines(bot) == 2
    assert bot.registry.get_sample_value(*readable) == 1


async def test_two_programs_under_one_name_are_both_counted(tmp_path: Path) -> None:
    """What stood in their files before is not, and whoever writes, goes on where he was."""
    one, other = tmp_path / "bot_1.log", tmp_path / "bot_2.log"
    for file in (one, other):
        file.write_bytes(b"before\n" * 5)
    bot = await new(tmp_path / "bot_*.log")
    for number in range(1, 6):
        for file in (one, other):
            add(file, b"new\n")
            os.utime(file)
            assert await lines(bot) == 2 * number - (file is one)


@pytest.mark.parametrize("restart", [False, True])
async def test_what_only_the_copy_has_of_a_cut_file_is_counted(path: Path, restart: bool) -> None:
    """`copytruncate`: lines between the last look and the cut stand in the copy alone. An older
    copy that begins the same way is left alone."""
    path.write_bytes(b"")
    state = Kept()
    bot = await new(path, state)
    path.with_name("bot.log.2").write_bytes(b"# head\n1\n2\n")
    os.utime(path.with_name("bot.log.2"), (1, 1))
    add(path, b"# head\n1\n2")
    before = await lines(bot)
    if restart:
        await bot.follower.stop()
        bot, before = Bot(path, state), 0
    add(path, b"\n3\n4\n")
    shutil.copy(path, path.with_name("bot.log.1"))
    path.write_bytes(b"5\n6\n")
    assert await lines(bot) == (before or 0) + 5
    path.rename(path.with_name("bot.log.3"))
    path.write_bytes(b"7\n")
    assert await lines(bot) == (before or 0) + 6


@pytest.mark.parametrize("restart", [False, True])
async def test_what_came_and_was_cut_within_one_look_is_counted(path: Path, restart: bool) -> None:
    """Twice: the file was empty at the last look, and it is empty or new again."""
    path.touch()
    state = Kept()
    os.utime(path, (1, 1))  # two times within a tick of the file system are one
    bot = await new(path, state)
    if restart:
        await bot.follower.stop()
        bot = Bot(path, state)
    for number in (2, 1):
        add(path, b"1\n2\n")
        shutil.copy(path, path.with_name(f"bot.log.{number}"))
        path.write_bytes(b"")
    assert await lines(bot) == 4
    add(path, b"3\n")
    assert await lines(bot) == 5


async def test_a_copy_that_is_being_made_is_not_read(path: Path) -> None:
    """Nor one that is whole while the file is not yet cut; afterwards only what was not read."""
    path.touch()
    bot, copy = await new(path), path.with_name("bot.log.1")
    add(path, b"1\n2\n")
    copy.touch()
    assert await lines(bot) == 2
    path.write_bytes(b"")
    await bot.counts()
    add(path, b"3\n4\n")
    copy.write_bytes(b"3")
    os.utime(copy)
    assert await lines(bot) == 4
    add(path, b"5\n")
    copy.write_bytes(path.read_bytes())
    path.write_bytes(b"6\n")
    assert await lines(bot) == 6


async def test_what_was_turned_is_read_before_there_is_a_new_file(path: Path) -> None:
    """logrotate's `nocreate`, twice: the program may not write again for days."""
    path.touch()
    bot = await new(path)
    for number in (2, 1):
        add(path, b"1\n2\n")
        path.rename(path.with_name(f"bot.log.{number}"))
    assert await lines(bot) == 4
    assert await lines(bot) == 4
    add(path.with_name("bot.log.1"), b"3\n")
    assert await lines(bot) == 5
    path.write_bytes(b"4\n")
    assert await lines(bot) == 6


async def test_parts_of_days_that_are_over_are_read(tmp_path: Path) -> None:
    """Turned by size, then the day was over, all while the exporter was down."""
    state, wanted = Kept(), tmp_path / "quant_????-??-??.log"
    day = tmp_path / "quant_2026-11-23.log"
    day.touch()
    bot = await new(wanted, state)
    add(day, b"1\n")
    await bot.counts()
    await bot.follower.stop()
    for part in range(1, 4):
        add(day, b"more\n")
        day.rename(tmp_path / f"quant_2026-11-23.2026-11-23_0{part}-00-00_000000.log")
        day.touch()
    add(day, b"5\n")
    (tmp_path / "quant_2026-11-24.log").write_bytes(b"6\n")
    assert await lines(Bot(wanted, state)) == 5


async def test_what_was_compressed_costs_no_other_file(path: Path) -> None:
    """The exporter was down, the file was turned twice, the older part is an archive by now."""
    state = await stopped_after_a_line(path)
    add(path, b"lost\n")
    path.with_name("bot.log.2.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    path.with_name("bot.log.1").write_bytes(b"2\n3\n")
    path.write_bytes(b"4\n")
    assert await lines(Bot(path, state)) == 3


async def test_a_stranger_that_got_the_inode_is_left_alone(path: Path) -> None:
    """The file is gone, and another one in its folder lies where it lay."""
    state = await stopped_after_a_line(path)
    stranger = path.with_name("other.log")
    stranger.write_bytes(b"not ours\n" * 9)
    state.values["bot"]["inode"] = stranger.stat().st_ino
    path.unlink()
    path.write_bytes(b"2\n")
    assert await lines(Bot(path, state)) == 1


async def test_a_turned_file_that_got_the_inode_of_an_old_one_is_read(path: Path) -> None:
    """Among files that were read before, an inode alone says nothing."""
    state = await stopped_after_a_line(path)
    add(path, b"2\n")
    path.rename(path.with_name("bot.log.2"))
    path.with_name("bot.log.1").write_bytes(b"3\n")
    path.write_bytes(b"4\n")
    state.values["bot"]["done"] = [[path.with_name("bot.log.1").stat().st_ino, 99, 0]]
    assert await lines(Bot(path, state)) == 3


async def test_a_file_that_was_moved_away_and_back_is_read_on(path: Path) -> None:
    """Not from its start."""
    path.touch()
    bot = await new(path)
    add(path, b"1\n2\n")
    await bot.counts()
    path.rename(path.with_name("kept"))
    path.write_bytes(b"3\n")
    assert await lines(bot) == 3
    path.with_name("kept").rename(path)
    add(path, b"4\n")
    assert await lines(bot) == 4


async def test_a_deleted_file_is_said_and_given_back(path: Path) -> None:
    """Its writer may write on for a while; then the disk has its room again."""
    path.touch()
    bot = await new(path)
    with path.open("ab", buffering=0) as writer:
        path.unlink()
        writer.write(b"1\n")
        assert await lines(bot) == 1
        assert bot.registry.get_sample_value("quant_log_followed_readable", {"file": "bot"}) == 0
        for _ in range(GONE_LOOKS):
            writer.write(b"2\n")
            await bot.counts()
        assert await lines(bot) == 1 + GONE_LOOKS
    for _ in range(GONE_LOOKS + 1):
        await bot.counts()
    held = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    assert not [name for name in held if str(path) in name]
    path.write_bytes(b"3\n")
    assert await lines(bot) == 2 + GONE_LOOKS
    assert bot.registry.get_sample_value("quant_log_followed_readable", {"file": "bot"}) == 1


async def test_a_pipe_is_not_opened(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever writes into it would notice."""
    os.mkfifo(path)
    await new(path)
    assert (
        f"bot: {path} cannot be read: not a regular file but a pipe or a device" in caplog.messages
    )


async def test_a_link_is_followed_to_where_it_leads(tmp_path: Path) -> None:
    """Also when it was led elsewhere while nobody looked: the rest of the old file comes first."""
    link, folder, state = tmp_path / "current", tmp_path / "logs", Kept()
    folder.mkdir()
    one, two, three = (folder / f"{name}.log" for name in ("one", "two", "three"))
    one.touch()
    link.symlink_to(one)
    bot = await new(link, state)
    add(one, b"1\n")
    two.write_bytes(b"2\n")
    link.unlink()
    link.symlink_to(two)
    assert await lines(bot) == 2
    await bot.follower.stop()
    add(two, b"3\n")
    three.write_bytes(b"4\n")
    link.unlink()
    link.symlink_to(three)
    assert await lines(Bot(link, state)) == 2


async def test_an_error_of_the_disk_costs_no_place(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it has passed, reading goes on where it was."""
    path.touch()
    bot = await new(path)
    add(path, b"1\n2\n")
    await bot.counts()

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as faulty:
        faulty.setattr(tails.os, "pread", fail)
        assert await lines(bot) == 2
        assert bot.registry.get_sample_value("quant_log_followed_readable", {"file": "bot"}) == 0
    add(path, b"3\n")
    assert await lines(bot) == 3


async def test_an_endless_line_is_one_line_through_a_restart(path: Path) -> None:
    """Its rest is no line of its own."""
    path.touch()
    state = Kept()
    bot = await new(path, state)
    add(path, b"x" * (LONGEST_LINE * 2))
    assert await lines(bot) == 1
    await bot.follower.stop()
    add(path, b"x" * 100 + b"\nnext\n")
    assert await lines(Bot(path, state)) == 1


async def test_the_hole_that_a_cut_leaves_hides_no_line(path: Path) -> None:
    """`bot > bot.log` writes on at its old place when the file is cut."""
    path.touch()
    bot = await new(path)
    with path.open("wb", buffering=0) as writer:
        writer.write(b"Timeout\n" * 300_000)
        assert await bot.counts() == (300_000, 300_000)
        os.truncate(path, 0)
        writer.write(b"Timeout\nfine\n")
        assert await bot.counts() == (300_002, 300_001)


async def test_lines_may_end_as_on_windows(path: Path) -> None:
    """The end of a line is where its text ends."""
    path.touch()
    bot = await new(path, patterns={"failed": "Timeout$"})
    add(path, b"a Timeout\r\nTimeout b\r\n")
    assert await bot.counts() == (2, 1)


async def test_json_as_programs_really_write_it_is_understood(path: Path) -> None:
    """NaN, bytes in another encoding, a byte order mark, structlog's event."""
    path.touch()
    bot = await new(path, format="json", patterns={"failed": r"^(?i:error) \S* ?Timeout"})
    written = [
        b'\xef\xbb\xbf{"level":"error","message":"Timeout"}',
        b'{"level":"error","message":"Timeout","price":NaN}',
        b'{"level":"ERROR","message":"Timeout f\xfcr 700.HK"}',
        b'{"severity":"ERROR","msg":"Timeout\tat once"}',
        json.dumps({"level": "error", "event": "Timeout", "logger": "fetch"}).encode(),
        b'{"level":"error","message":' + b"[" * 5000,
    ]
    add(path, b"\n".join(written) + b"\n")
    assert await bot.counts() == (6, 5)
    assert bot.registry.get_sample_value("quant_log_broken_total", {"file": "bot"}) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"path": "/var/*/bot.log"}, "only the file name may have wildcards"),
     ({"patterns": {"failed": "(" }}, "invalid regular expression"),
     ({"patterns": {"failed": "a{99999999999999}"}}, "1000 at most")],
)  # fmt: skip
def test_what_cannot_be_followed_is_said(changes: dict[str, Any], message: str) -> None:
    """By `check`, with the place."""
    with pytest.raises(ValueError, match=message):
        Followed(**({"path": "/var/log/bot.log"} | changes))


def test_a_copy_is_read_after_a_burst_that_was_cut(path: Path) -> None:
    """What was not yet read when it was cut is read from the copy, in steps."""
    path.touch()
    tail = Tail(lambda: path)
    list(tail.lines())
    add(path, b"".join(b"%d\n" % number for number in range(200_000)))
    seen = list(tail.lines(most_bytes=1))
    assert 0 < len(seen) < 200_000
    shutil.copy(path, path.with_name("bot.log.1"))
    path.write_bytes(b"200000\n")
    while more := list(tail.lines(most_bytes=1)):
        seen += more
    assert [int(line) for line in seen] == list(range(200_001))


async def test_what_follows_cannot_be_opened_and_what_was_read_stays_read(path: Path) -> None:
    """A file was turned, and in its place is one that may not be read: a restart counts nothing of
    the turned file again, and what comes later is read."""
    path.touch()
    state = Kept()
    bot = await new(path, state)
    add(path, b"1\n2\n")
    path.rename(path.with_name("bot.log.1"))
    path.mkdir()
    assert await lines(bot) == 2
    bot = Bot(path, state)  # killed
    assert await lines(bot) == 0
    path.rmdir()
    path.write_bytes(b"3\n")
    assert await lines(bot) == 1
