"""Extracts make a digest cheaper and never different."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.logs import extracts
from exporter.logs.digest.build import build
from exporter.logs.digest.facts import LogDigest, Request
from exporter.logs.extracts import EVENTS, ExtractWriter, distil, extract_of
from exporter.logs.files import DayFiles, Limits, files_of
from exporter.logs.queue_writer import Line
from exporter.logs.retention import RetentionPolicy, tidy

ZONE = ZoneInfo("UTC")
START = datetime(2026, 3, 4, tzinfo=UTC).timestamp()
DAY = 86400.0
KEEP = RetentionPolicy(Path(), {"exporter": 30 * DAY}, 10**9)


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few lines are a stretch."""
    monkeypatch.setattr(extracts, "STRETCH_BYTES", 600)


def line(at: float, level: str = "info", event: str | None = None, **extra: Any) -> Line:
    stamp = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:23] + "Z"
    named = {"event": event} if event is not None else {}
    record = {"timestamp": stamp, "level": level, "logger": "a", **named, "message": "m", **extra}
    return Line(at, level, "a", event, json.dumps(record, separators=(",", ":")).encode() + b"\n")


def calm_day(count: int = 400) -> list[Line]:
    """One line of twenty matters."""
    return [
        line(START + n * 60, "error") if n % 20 == 7 else line(START + n * 60, event="looked", n=n)
        for n in range(count)
    ]


def writer(folder: Path, rotate_at: int = 10**6) -> DayFiles:
    return DayFiles("exporter", Limits(folder, ZONE, rotate_at))


def digest(folder: Path, start: float = START, end: float = START + DAY) -> LogDigest:
    made = build(Request(folder, "UTC", start, end, "d", folder, now=end))
    return replace(made, seconds=0.0)


def same_without_extracts(folder: Path, **between: float) -> LogDigest:
    """The digest, after a look that it is the same when every line is read."""
    with_extracts = digest(folder, **between)
    for extract in folder.glob("*.extract*"):
        extract.unlink()
    assert with_extracts == digest(folder, **between)
    return with_extracts


def test_most_lines_of_our_own_files_are_not_read(tmp_path: Path) -> None:
    """What has to be read of a file, plain or compressed, is what matters and a little more."""
    files = writer(tmp_path)
    for number, each in enumerate(calm_day()):
        files.write([each])
        if number == 200:
            files.close()  # as at a restart
    files.close()
    with (tmp_path / "out").open("wb") as out:
        (file,) = files_of(tmp_path, "exporter")
        levels = distil(file.path, "2026-03-04T00", "2026-03-05T00", out)
        assert levels is not None
        assert set(levels) == {"info"}
        assert levels["info"] > 350
        assert out.tell() < file.path.stat().st_size / 8
    assert same_without_extracts(tmp_path).levels == {"error": 20, "info": 380}


def test_archives_have_one_too(tmp_path: Path) -> None:
    """Made when the part is compressed; the plain one is gone."""
    files = writer(tmp_path, rotate_at=9000)
    files.write(calm_day())
    files.write([line(START + DAY)])
    files.close()
    tidy(replace(KEEP, directory=tmp_path), START + DAY, ZONE)
    archives = [file.path for file in files_of(tmp_path, "exporter") if file.compressed]
    assert len(archives) > 3
    for archive in archives:
        assert extract_of(archive).exists()
        assert not extract_of(archive.with_suffix("")).exists()
        with (tmp_path / "out").open("wb") as out:
            assert distil(archive, "2026-03-04T00", "2026-03-05T00", out)
    (tmp_path / "out").unlink()
    assert same_without_extracts(tmp_path).levels == {"error": 20, "info": 380}


def test_they_are_deleted_with_their_files(tmp_path: Path) -> None:
    """By age, for space, and when somebody else deleted the file."""
    files = writer(tmp_path, rotate_at=9000)
    files.write(calm_day())
    files.write([line(START + DAY)])
    files.close()
    keep = replace(KEEP, directory=tmp_path)
    tidy(keep, START + DAY, ZONE)
    first, *rest = [file.path for file in files_of(tmp_path, "exporter") if file.compressed]
    first.unlink()
    tidy(keep, START + DAY, ZONE)
    assert not extract_of(first).exists()
    sizes = [p.stat().st_size for p in tmp_path.iterdir()]
    tidy(replace(keep, most_bytes=sum(sizes) - 1), START + DAY, ZONE)
    assert not extract_of(rest[0]).exists()
    assert extract_of(rest[1]).exists()
    tidy(keep, START + 90 * DAY, ZONE)
    assert not list(tmp_path.glob("*.extract*"))


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def _glue(path: Path) -> None:
    """A program without line feeds writes to the same file, before ours and behind."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b'{"half' + content[-1:] + b'{"half')


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_flip, _cut, _glue, _empty])
@pytest.mark.parametrize("of", ["exporter-*.jsonl*", "exporter-*.extract*"])
@pytest.mark.parametrize("compressed", [False, True])
def test_damage_costs_time_and_changes_nothing(
    tmp_path: Path, damage: Callable[[Path], None], of: str, compressed: bool
) -> None:
    """Of the log or of the extract: what was changed is read."""
    files = writer(tmp_path, rotate_at=9000)
    files.write(calm_day())
    if compressed:
        tidy(replace(KEEP, directory=tmp_path), START, ZONE)
    path = sorted(tmp_path.glob(of))[1]
    damage(path)
    found = same_without_extracts(tmp_path)
    assert found.records > 300


def test_an_extract_of_another_version_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lacks the lines of events that were added since."""
    files = writer(tmp_path)
    for each in calm_day():
        files.write([each])
    files.close()
    (file,) = files_of(tmp_path, "exporter")
    monkeypatch.setattr(extracts, "_RULE", 1)
    with (tmp_path / "out").open("wb") as out:
        assert not distil(file.path, "2026", "2027", out)
        assert out.tell() == file.path.stat().st_size


def test_a_full_disk_breaks_no_extract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a record would hide the ones behind it."""
    path, write = tmp_path / "exporter-2026-03-04.jsonl", os.write
    extract = ExtractWriter()
    extract.begin(path, 0, 0o600)
    stretch = [line(START + n) for n in range(10)]
    content = b"".join(each.content for each in stretch)
    monkeypatch.setattr(os, "write", lambda to, what: write(to, what[:-9]))
    extract.add(stretch, content, 0)
    assert not extract_of(path).exists()
    monkeypatch.undo()
    monkeypatch.setattr(extracts, "STRETCH_BYTES", 600)
    extract.add(stretch, content, len(content))
    assert extract_of(path).exists()


LINES = st.builds(
    line,
    st.floats(START - 3600, START + DAY + 3600),
    st.sampled_from(["debug", "info", "info", "info", "warning", "error", "notice"]),
    st.sampled_from([None, None, "looked", "", *EVENTS]),
    task=st.sampled_from(["scan", 'with "quotes" \\ and \n'])
    | st.text(st.characters(codec="utf-8"), max_size=5),
    outcome=st.sampled_from(["success", "error"]),
    level_=st.just({"level": "error", "event": "run_ended", "timestamp": "2026"}),
)
STEPS = st.one_of(
    st.lists(LINES, min_size=1, max_size=12),
    st.sampled_from(
        ["reopen", "tidy", "foreign", "torn", "cut to nothing", "moved", "rotate", "flip"]
    ),
)


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(STEPS, min_size=3, max_size=14), since=st.floats(0, DAY))
def test_no_history_of_a_file_makes_a_difference(
    steps: list[list[Line] | str], since: float
) -> None:
    """Lines of every kind, restarts, compression, other writers, damage; a whole day, and a part of
    it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = writer(folder, rotate_at=6000)
        for step in steps:
            _take(step, files, folder)
        files.close()
        made = digest(folder, START + since, START + DAY)
        assert made == same_without_extracts(folder, start=START + since, end=START + DAY)


def _take(step: list[Line] | str, files: DayFiles, folder: Path) -> None:
    if not isinstance(step, str):
        for each in step:
            files.write([each])
        return
    held = files.held
    match step:
        case "reopen":
            files.close()
        case "tidy":
            tidy(replace(KEEP, directory=folder), START, ZONE, [held])
        case "rotate":
            files._close_part()
        case "flip":
            for path in sorted(folder.glob("*.jsonl*"))[:1]:
                if path.stat().st_size:
                    _flip(path)
        case _ if held is None or not held.exists():
            pass
        case "foreign":
            with held.open("ab") as out:
                out.write(b'{"timestamp":"2026-03-04T10:00:00.000Z","level":"error"}\nodd\n')
        case "torn":
            with held.open("ab") as out:
                out.write(b'{"timestamp":"2026-03')
        case "cut to nothing":
            os.truncate(held, 0)
        case "moved":
            held.rename(folder / "moved.log")
