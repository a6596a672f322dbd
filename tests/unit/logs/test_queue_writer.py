"""Log lines reach their files, whatever happens to the files."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import random
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import CollectorRegistry

from exporter.config import Logs
from exporter.logs import retention as keeping_module
from exporter.logs.files import DayFiles, Limits, LogFile, files_of
from exporter.logs.formatters import JsonLines
from exporter.logs.log_context import fields
from exporter.logs.queue_writer import Line, QueueWriter
from exporter.logs.retention import RetentionPolicy, tidy
from exporter.logs.setup import Logging
from exporter.metrics import Metrics
from exporter.redaction.mask import Mask
from tests.unit.clocks import ManualClock

ZONE = ZoneInfo("America/New_York")
MIDNIGHT = 1790049600.0  # 2026-09-22 00:00 in New York


def line(at: float, text: str = "x", level: str = "info") -> Line:
    return Line(at, level, "a", None, json.dumps({"message": text}).encode() + b"\n")


def texts(path: Path) -> list[str]:
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    return [json.loads(entry)["message"] for entry in content.splitlines()]


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(MIDNIGHT - 3600)


def day_files(tmp_path: Path, rotate_at: int = 10**6) -> DayFiles:
    return DayFiles("exporter", Limits(tmp_path / "log", ZONE, rotate_at))


class TestDayFiles:
    @pytest.mark.parametrize(("folder", "file"), [(None, 0o600), (0o750, 0o640), (0o755, 0o640)])
    def test_lines_are_the_owners_alone_unless_a_group_may_read_the_folder(
        self, tmp_path: Path, folder: int | None, file: int
    ) -> None:
        """Also the folders that had to be made; a collector gets in by a folder made for it."""
        directory = tmp_path / "var/log"
        if folder is not None:
            directory.mkdir(parents=True)
            directory.chmod(folder)
        files = DayFiles("exporter", Limits(directory, ZONE, 10**6))
        umask = os.umask(0o077)  # that of the unit on a VPS
        try:
            files.write([line(MIDNIGHT)])
        finally:
            os.umask(umask)
        [made] = directory.iterdir()
        assert stat.S_IMODE(made.stat().st_mode) == file
        if folder is None:
            modes = {stat.S_IMODE(each.stat().st_mode) for each in (directory, directory.parent)}
            assert modes == {0o700}

    def test_a_line_is_in_the_file_of_its_day(self, tmp_path: Path, clock: ManualClock) -> None:
        """The configured zone's midnight is the border, also within one batch, also backwards."""
        files = day_files(tmp_path)
        batch = [line(MIDNIGHT - 1, "a"), line(MIDNIGHT, "b"), line(MIDNIGHT - 0.5, "late")]
        assert files.write(batch) == 3
        files.write([line(MIDNIGHT + 5, "c")])
        files.close()
        listed = files_of(tmp_path / "log", "exporter")
        found = {(str(f.day), text) for f in listed for text in texts(f.path)}
        assert found == {
            ("2026-09-21", "a"), ("2026-09-21", "late"), ("2026-09-22", "b"), ("2026-09-22", "c"),
        }  # fmt: skip
        assert [f.day.day for f in listed if f.open] == [22]

    @pytest.mark.parametrize("zone", ["America/New_York", "America/Havana", "Australia/Lord_Howe"])
    @pytest.mark.parametrize("month", [3, 4, 10, 11])
    def test_on_days_when_clocks_change_too(self, tmp_path: Path, zone: str, month: int) -> None:
        """Days of 23, 24.5 and 25 hours; Havana's midnight comes twice, or not at all."""
        tz = ZoneInfo(zone)
        files = DayFiles("exporter", Limits(tmp_path / "log", tz, 10**6))
        start = int(datetime(2026, month, 1, tzinfo=UTC).timestamp())
        moments = range(start, start + 31 * 86400, 1800)
        assert files.write([line(at, str(at)) for at in moments]) == len(moments)
        files.close()
        found = {
            int(text): f.day
            for f in files_of(tmp_path / "log", "exporter")
            for text in texts(f.path)
        }
        assert found == {at: datetime.fromtimestamp(at, tz).date() for at in moments}

    def test_a_part_is_closed_before_it_grows_too_large(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        """Parts are numbered in their order and none is larger than the limit."""
        files = day_files(tmp_path, rotate_at=100)
        batch = [line(clock.now(), f"{n:03d}") for n in range(20)]
        assert files.write(batch) == 20
        listed = files_of(tmp_path / "log", "exporter")
        assert [t for f in listed for t in texts(f.path)] == [f"{n:03d}" for n in range(20)]
        assert len(listed) == 4
        assert all(f.path.stat().st_size <= 100 for f in listed)

    def test_a_line_that_is_larger_than_a_part_is_written(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        """Nothing is too large to be kept."""
        files = day_files(tmp_path, rotate_at=10)
        assert files.write([line(clock.now(), "y" * 50)] * 2) == 2

    def test_a_file_that_was_moved_away_is_made_anew(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        """As an outside logrotate does, with `create` or without."""
        files = day_files(tmp_path)
        files.write([line(clock.now(), "a")])
        path = tmp_path / "log" / "exporter-2026-09-21.jsonl"
        path.rename(tmp_path / "elsewhere")
        files.write([line(clock.now(), "b")])
        assert texts(path) == ["b"]

    def test_a_file_that_was_cut_goes_on_at_its_end(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        """logrotate's copytruncate leaves no hole of zero bytes."""
        files = day_files(tmp_path)
        files.write([line(clock.now(), "a" * 100)])
        path = tmp_path / "log" / "exporter-2026-09-21.jsonl"
        os.truncate(path, 0)
        files.write([line(clock.now(), "b")])
        assert texts(path) == ["b"]

    def test_a_folder_that_went_is_made_anew(self, tmp_path: Path, clock: ManualClock) -> None:
        """What went with it is lost to nobody but who moved it."""
        files = day_files(tmp_path)
        files.write([line(clock.now(), "a")])
        (tmp_path / "log").rename(tmp_path / "gone")
        assert files.write([line(clock.now(), "b")]) == 1
        assert texts(tmp_path / "log" / "exporter-2026-09-21.jsonl") == ["b"]
        assert texts(tmp_path / "gone" / "exporter-2026-09-21.jsonl") == ["a"]

    def test_what_was_written_into_a_deleted_file_is_written_again(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        """Lines that came after the deletion and before anybody saw it are not lost; older ones
        were what was to be deleted."""
        files = day_files(tmp_path)
        files.write([line(clock.now(), "old")])
        files.write([line(clock.now(), "a"), line(clock.now(), "b")])
        shutil.rmtree(tmp_path / "log")
        assert files.write([line(clock.now(), "c")]) == 1
        assert texts(tmp_path / "log" / "exporter-2026-09-21.jsonl") == ["a", "b", "c"]

    def test_after_a_fault_the_file_is_opened_anew(
        self, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A descriptor that went bad (a server that forgot it, a device that came back) is not
        tried for ever; the half line before it stays alone."""
        files, write, opened = day_files(tmp_path), os.write, []

        def faulty(fd: int, content: bytes) -> int:
            if not opened:
                opened.append(fd)
                write(fd, content[:5])
                raise OSError(5, "Input/output error")
            return write(fd, content)

        monkeypatch.setattr(os, "write", faulty)
        assert files.write([line(clock.now(), "a")]) == 0
        assert "Input/output error" in (files.trouble or "")
        assert files.write([line(clock.now(), "a")]) == 1
        content = (tmp_path / "log" / "exporter-2026-09-21.jsonl").read_bytes()
        assert content.splitlines() == [b'{"mes', b'{"message": "a"}']

    def test_a_folder_that_cannot_be_made_is_said_and_heals(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        """Lines are not done with while there is trouble."""
        (tmp_path / "log").write_text("a file where the folder should be")
        files = day_files(tmp_path)
        assert files.write([line(clock.now(), "a")]) == 0
        assert "log" in (files.trouble or "")
        (tmp_path / "log").unlink()
        assert files.write([line(clock.now(), "a")]) == 1
        assert files.trouble is None

    def test_a_broken_last_line_stays_alone(self, tmp_path: Path, clock: ManualClock) -> None:
        """After kill -9 within a line the next start begins a new one."""
        path = tmp_path / "log" / "exporter-2026-09-21.jsonl"
        path.parent.mkdir()
        path.write_bytes(b'{"message": "a"}\n{"mess')
        files = day_files(tmp_path)
        files.write([line(clock.now(), "b")])
        assert path.read_bytes() == b'{"message": "a"}\n{"mess\n{"message": "b"}\n'

    def test_yesterdays_open_file_is_closed_at_the_start(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        """A process that was down at midnight leaves no open file behind."""
        day_files(tmp_path).write([line(clock.now(), "a")])
        clock.advance(86400)
        day_files(tmp_path).write([line(clock.now(), "b")])
        assert names(tmp_path / "log") == [
            "exporter-2026-09-21.001.jsonl", "exporter-2026-09-22.jsonl",
        ]  # fmt: skip

    def test_a_disk_that_fills_up_costs_no_line(
        self, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A write that stops within a line is continued where it stopped."""
        files = day_files(tmp_path)
        room, write = 70, os.write

        def full_disk(fd: int, content: bytes) -> int:
            nonlocal room
            if room <= 0:
                raise OSError(28, "No space left on device")
            written = write(fd, content[:room])
            room -= written
            return written

        monkeypatch.setattr(os, "write", full_disk)
        batch = [line(clock.now(), f"{n:03d}") for n in range(10)]
        done = files.write(batch)
        assert done == 3
        assert "No space" in (files.trouble or "")
        room = 3
        assert files.write(batch[done:]) == 0
        room = 10**6
        assert files.write(batch[done:]) == 7
        path = tmp_path / "log" / "exporter-2026-09-21.jsonl"
        assert texts(path) == [f"{n:03d}" for n in range(10)]

    def test_half_a_line_is_ended_once_a_full_disk_has_room(
        self, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The process was killed within a line, and started on a full disk."""
        path = tmp_path / "log" / "exporter-2026-09-21.jsonl"
        path.parent.mkdir()
        path.write_bytes(b'{"half')
        files = day_files(tmp_path)

        def full_disk(fd: int, content: bytes) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as full:
            full.setattr(os, "write", full_disk)
            assert files.write([line(clock.now(), "whole")]) == 0
        assert files.write([line(clock.now(), "whole")]) == 1
        first, second = path.read_bytes().splitlines()
        assert first == b'{"half'
        assert json.loads(second)["message"] == "whole"


AGES = {"exporter": 2 * 86400.0, "errors": 30 * 86400.0}


class TestTidy:
    def _day(self, tmp_path: Path, clock: ManualClock, days: int) -> None:
        for _ in range(days):
            for name in ("exporter", "errors"):
                files = DayFiles(name, Limits(tmp_path, ZONE, 10**6))
                files.write([line(clock.now(), "z" * 1000)])
                files.close()
            clock.advance(86400)

    def test_closed_parts_are_compressed_and_old_ones_deleted(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        """Age counts from the end of the file's day; errors have an age of their own."""
        self._day(tmp_path, clock, 5)
        clock.advance(-86400)
        tidy(RetentionPolicy(tmp_path, AGES, 10**9), clock.now(), ZONE)
        assert names(tmp_path) == [
            *(f"errors-2026-09-2{d}.001.jsonl.gz" for d in range(1, 5)), "errors-2026-09-25.jsonl",
            "exporter-2026-09-23.001.jsonl.gz", "exporter-2026-09-24.001.jsonl.gz",
            "exporter-2026-09-25.jsonl",
        ]  # fmt: skip
        assert texts(tmp_path / "exporter-2026-09-23.001.jsonl.gz") == ["z" * 1000]

    def test_the_last_errors_go_when_they_are_too_old(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        """No later error has closed their file; one that a writer holds stays."""
        files = DayFiles("errors", Limits(tmp_path, ZONE, 10**6))
        files.write([line(clock.now(), "z")])
        clock.advance(32 * 86400)
        tidy(RetentionPolicy(tmp_path, AGES, 10**9), clock.now(), ZONE, [files.held])
        assert names(tmp_path) == ["errors-2026-09-21.jsonl"]
        files.close()
        tidy(RetentionPolicy(tmp_path, AGES, 10**9), clock.now(), ZONE, [files.held])
        assert names(tmp_path) == []

    def test_the_oldest_go_when_all_together_are_too_large(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        """The open file stays even when it alone is too large."""
        self._day(tmp_path, clock, 3)
        tidy(RetentionPolicy(tmp_path, AGES, 1), clock.now() - 86400, ZONE)
        assert names(tmp_path) == ["errors-2026-09-23.jsonl", "exporter-2026-09-23.jsonl"]

    def test_a_flood_of_one_kind_does_not_cost_the_other(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        """Errors have a quarter of the room to themselves, and take no more; the newest stay."""
        for day in range(20):
            for name in ("exporter", "errors"):
                files = DayFiles(name, Limits(tmp_path, ZONE, 10**6))
                noise = hashlib.sha256(f"{name}{day}".encode()).hexdigest() * 50
                files.write(
                    [line(clock.now(), "".join(random.Random(noise).choices(noise, k=3000)))]
                )
                files.close()
            clock.advance(86400)
        keeping = RetentionPolicy(
            tmp_path, {"exporter": 99 * 86400.0, "errors": 99 * 86400.0}, 20_000
        )
        tidy(keeping, clock.now() - 86400, ZONE)
        left = {name: files_of(tmp_path, name) for name in ("exporter", "errors")}
        sizes = {n: sum(f.path.stat().st_size for f in files) for n, files in left.items()}
        assert 3_000 < sizes["errors"] <= 5_000
        assert 12_000 < sizes["exporter"] <= 20_000 - sizes["errors"]
        assert all(files[-1].open for files in left.values())
        assert [f.day for f in left["errors"]] == [f.day for f in left["exporter"]][
            -len(left["errors"]) :
        ]

    def test_a_disk_without_room_to_compress_is_made_room_on(
        self, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is too old or too much is deleted all the same, and the fault is said."""
        self._day(tmp_path, clock, 4)

        def full(file: LogFile) -> LogFile:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(keeping_module, "_compress", full)
        with pytest.raises(OSError, match="No space"):
            tidy(RetentionPolicy(tmp_path, AGES, 4_000), clock.now() - 86400, ZONE)
        assert "exporter-2026-09-21.001.jsonl" not in names(tmp_path)
        assert names(tmp_path)[-1] == "exporter-2026-09-24.jsonl"

    def test_a_crash_between_two_steps_leaves_nothing_behind(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        """A half-made archive is made again; a part that is there twice is kept once."""
        self._day(tmp_path, clock, 2)
        part = tmp_path / "exporter-2026-09-21.001.jsonl"
        plain = part.read_bytes()
        (tmp_path / ".exporter-2026-09-21.001.jsonl.gz.4711.part").write_bytes(b"half")
        tidy(RetentionPolicy(tmp_path, AGES, 10**9), clock.now(), ZONE)
        part.write_bytes(plain)
        listed = files_of(tmp_path, "exporter")
        assert [f.compressed for f in listed] == [True, False]
        tidy(RetentionPolicy(tmp_path, AGES, 10**9), clock.now(), ZONE)
        assert not part.exists()
        assert not list(tmp_path.glob(".*.part"))


def test_what_is_kept_without_being_asked() -> None:
    """50 MB and 7 days; errors apart, 20 MB and 30 days; all together bounded."""
    logs = Logs()
    assert (logs.rotate_at, logs.keep) == (50_000_000, 7 * 86400)
    assert (logs.errors_rotate_at, logs.errors_keep) == (20_000_000, 30 * 86400)
    assert logs.max_total == 2_000_000_000


class Slow:
    """A place that takes what the test allows."""

    def __init__(self) -> None:
        self.trouble: str | None = None
        self.room = 0
        self.got: list[Line] = []

    def write(self, lines: Any) -> int:
        done = list(lines[: self.room])
        self.room -= len(done)
        self.got += done
        return len(done)

    def close(self) -> None:
        pass


class TestWriter:
    def test_what_the_queue_cannot_take_is_counted(self) -> None:
        """Errors still find room when others no longer do."""
        place, lost = Slow(), []
        size = len(line(0.0).content)
        writer = QueueWriter(place, "t", on_lost=lost.append, queue_bytes=size * 10)
        taken = [writer.put(line(0.0)) for _ in range(12)]
        assert taken == [True] * 8 + [False] * 4
        assert writer.put(line(0.0, level="error"))
        assert sum(lost) == 4

    def test_lines_wait_for_a_place_that_heals(self) -> None:
        """Order is kept and nothing is written twice."""
        place = Slow()
        writer = QueueWriter(place, "t", retry_seconds=0.01)
        batch = [line(0.0, str(n)) for n in range(50)]
        for entry in batch:
            writer.put(entry)
        writer.start()
        assert not writer.flush(0.05)
        place.room = 7
        place.room = 1000
        assert writer.flush(5)
        writer.close(1)
        assert place.got == batch

    def test_what_cannot_be_written_at_the_end_is_lost_and_counted(self) -> None:
        """Closing does not wait for ever."""
        lost: list[int] = []
        writer = QueueWriter(Slow(), "t", on_lost=lost.append, retry_seconds=0.01)
        writer.start()
        writer.put(line(0.0))
        writer.close(0.05)
        assert lost == [1]


@pytest.fixture
def installed(tmp_path: Path, clock: ManualClock) -> Iterator[tuple[Logging, CollectorRegistry]]:
    registry = CollectorRegistry()
    root = logging.getLogger()
    level = root.level
    logs = Logging(
        Logs(directory=tmp_path), "America/New_York", clock, Metrics(registry), terminal_fd=None
    )
    logs.start()
    yield logs, registry
    logs.stop()
    root.setLevel(level)


def written(directory: Path, name: str = "exporter") -> list[dict[str, Any]]:
    return [
        json.loads(entry)
        for file in files_of(directory, name)
        for entry in file.path.read_bytes().splitlines()
    ]


class TestLogging:
    def test_a_line_has_the_stable_fields(
        self, tmp_path: Path, installed: tuple[Logging, CollectorRegistry]
    ) -> None:
        """What is logged in a run says so, and what extra brings follows."""
        logs, _ = installed
        with fields(task="scan", run_id="r1"):
            logging.getLogger("a.b").info(
                "ended after %d", 2,
                extra={"event": "run_ended", "duration_seconds": 1.5, "items": 3, "level": "odd"},
            )  # fmt: skip
        assert logs.flush()
        assert [list(entry.items()) for entry in written(tmp_path)] == [
            [
                ("timestamp", "2026-09-22T03:00:00.000Z"), ("level", "info"), ("logger", "a.b"),
                ("event", "run_ended"), ("message", "ended after 2"), ("task", "scan"),
                ("run_id", "r1"), ("duration_seconds", 1.5), ("items", 3), ("extra_level", "odd"),
            ]
        ]  # fmt: skip

    def test_an_error_brings_its_type_and_stack(
        self, tmp_path: Path, installed: tuple[Logging, CollectorRegistry]
    ) -> None:
        """Errors stand in both files."""
        logs, registry = installed
        try:
            raise KeyError("x")
        except KeyError:
            logging.getLogger("a").exception("it went wrong")
        logs.flush()
        (entry,) = written(tmp_path)
        assert (entry["error_type"], entry["error_message"]) == ("KeyError", "'x'")
        assert entry["stack"].endswith("KeyError: 'x'")
        assert written(tmp_path, "errors") == [entry]
        assert registry.get_sample_value("quant_log_records_total", {"level": "error"}) == 1
        assert registry.get_sample_value("quant_log_errors_total", {"logger": "a"}) == 1
        assert registry.get_sample_value("quant_log_dropped_total") == 0
        assert registry.get_sample_value("quant_log_healthy") == 1

    def test_a_reload_goes_on_with_the_same_file(
        self, tmp_path: Path, installed: tuple[Logging, CollectorRegistry]
    ) -> None:
        """However often it comes; another size of a part counts from then on."""
        logs, _ = installed
        for number in range(20):
            logs.apply(Logs(directory=tmp_path, rotate_at=10_000_000 + number), "Asia/Shanghai")
            logging.getLogger("a").error("line %d", number)
            assert logs.flush()
        assert len(files_of(tmp_path, "exporter")) == len(files_of(tmp_path, "errors")) == 1
        assert len(written(tmp_path)) == 20

    @pytest.mark.parametrize(
        "value",
        [
            "\ud800", 2**70, float("nan"), {1: {2}}, b"\xff", object(), ["a"] * 10**5, "s" * 10**6,
            {"\ud800": 1}, {("a", 1): None},
        ],
        ids=lambda value: type(value).__name__,
    )  # fmt: skip
    def test_any_value_makes_a_line_of_json(
        self, value: object, tmp_path: Path, installed: tuple[Logging, CollectorRegistry]
    ) -> None:
        """Whatever somebody logs, the line is valid and bounded."""
        logs, _ = installed
        logging.getLogger("a").info("%s", "text", extra={"odd": value})
        logs.flush()
        (entry,) = written(tmp_path)
        assert entry["message"] == "text"
        assert len(str(entry)) < 200_000

    def test_no_number_is_null(self, clock: ManualClock) -> None:
        """JSON has no nan; a field without a value is none."""
        nan = float("nan")
        odd = {"n": nan, "m": float("inf"), "duration_seconds": nan}
        record = logging.makeLogRecord({"msg": "x", "levelno": 20, **odd})
        entry = json.loads(JsonLines(Mask(), clock).make(record).content)
        assert "duration_seconds" not in entry
        assert (entry["n"], entry["m"]) == ("nan", "inf")

    def test_a_bad_format_does_not_cost_the_line(self, clock: ManualClock) -> None:
        """The text and what went wrong are both there."""
        record = logging.LogRecord("a", logging.INFO, "f", 1, "%d bars", ("many",), None)
        line = JsonLines(Mask(), clock).make(record)
        assert json.loads(line.content)["message"].startswith(
            "%d bars ('many',) (cannot be formatted:"
        )

    def test_a_known_secret_is_in_no_line(
        self, tmp_path: Path, installed: tuple[Logging, CollectorRegistry]
    ) -> None:
        """Neither in message, arguments, extra fields nor the text of an exception."""
        logs, _ = installed
        logs.mask.add("hunter2hunter2")
        try:
            raise RuntimeError("no access with hunter2hunter2")
        except RuntimeError:
            logging.getLogger("a").exception(
                "key %s", "hunter2hunter2", extra={"note": {"hunter2hunter2": ["hunter2hunter2"]}}
            )
        logs.flush()
        (entry,) = written(tmp_path)
        assert "hunter2" not in str(entry)
        assert entry["message"] == "key ***"

    def test_a_reload_moves_the_files(
        self, tmp_path: Path, installed: tuple[Logging, CollectorRegistry]
    ) -> None:
        """Folder and level follow the new config."""
        logs, _ = installed
        logging.getLogger("a").info("before")
        logs.flush()
        logs.apply(Logs(directory=tmp_path / "new", level="warning"), "UTC")
        logging.getLogger("a").info("not wanted")
        logging.getLogger("a").warning("after")
        logs.flush()
        assert [e["message"] for e in written(tmp_path / "new")] == ["after"]
