"""The CPU time of a day's digest of a million records, against others who read the same files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from benchmarks.children import records
from benchmarks.figures import OURS, Row, compared
from benchmarks.processes import ROOT, BenchmarkError
from exporter.logs.digest.facts import LogDigest, Request
from exporter.logs.retention import RetentionPolicy, tidy

AIM_READING, AIM_WHOLE = 8.0, 4.0
"""The CPU seconds of the json.loads loop, divided by ours, in each round."""
AIM_MB = 300.0
SEED, DUCKDB, JQ = "json.loads line by line", "plain DuckDB, counts alone", "jq, counts alone"
COMMAND = "quant-exporter digest"
_JQ = 'reduce inputs as $r ({}; .[$r.level + "|" + $r.logger + "|" + ($r.event // "")] += 1)'
UTC = ZoneInfo("UTC")


@dataclass(frozen=True)
class Used:
    """What a process used and printed."""

    cpu: float
    """Seconds, its children's included."""
    out: str
    megabytes: float
    """Resident, at most."""


def run(folder: Path, quick: bool) -> Sequence[Row]:
    """Three forms of the same day; the files are in the kernel's cache."""
    count, rounds = (40_000, 1) if quick else (1_000_000, 5)
    rows: list[Row] = []
    for name, write in (
        ("its own files", _write_and_compress),
        ("its own files before they are compressed", records.write_as_exporter),
        ("a file of another program", _write_foreign),
    ):
        place = folder / name.replace(" ", "_")
        place.mkdir()
        write(place, count)
        rows += _measure(place, name, count, rounds)
        shutil.rmtree(place)
    return rows


def _measure(folder: Path, name: str, count: int, rounds: int) -> list[Row]:
    files = sorted(map(str, folder.glob(f"exporter-{records.DAY}*.jsonl*")))
    request = json.dumps(_request(folder).to_json())
    config = folder / "exporter.yml"
    config.write_text(json.dumps({"timezone": "UTC", "logs": {"directory": str(folder)}}))
    command = ("-m", "exporter", "digest", "--config", str(config), "--day", records.DAY)
    kept, foreign = name == "its own files", "another" in name
    reading: dict[str, list[float]] = {}
    whole: dict[str, list[float]] = {}
    memory: list[float] = []
    for number in range(rounds):
        found, seconds = json.loads(_used(["-m", "benchmarks.children.digest_cpu"], request).out)
        if found != count:
            raise BenchmarkError(f"{found} of {count} records are in the digest")
        _add(reading, OURS, seconds)
        ours = _used(["-m", "exporter.logs.digest"], request)
        if LogDigest.from_json(json.loads(ours.out)).records != count:
            raise BenchmarkError(f"{ours.out} does not have {count} records")
        _add(whole, OURS, ours.cpu)
        memory.append(ours.megabytes)
        _add(whole, COMMAND, _used(command).cpu)
        readers = [(SEED, "seed_loop")] + [(DUCKDB, "plain_duckdb")] * foreign
        for who, module in readers:
            used = _used(["-m", f"benchmarks.children.{module}", *files])
            _add(whole, who, used.cpu)
            _add(reading, who, float(used.out))
        if foreign and number == 0 and shutil.which("jq"):  # it is the slowest by far
            _add(whole, JQ, _used(["jq", "-n", "-c", _JQ, *files], program=False).cpu)
    figure = f"digest of {count:,} records, {name}"
    aims = (AIM_READING, AIM_WHOLE) if kept else (None, None)
    return [
        *compared(figure, "reading alone, CPU", reading, "s"),
        _least(figure, "reading alone", reading, OURS, aims[0]),
        *compared(figure, "whole process, CPU", whole, "s"),
        _least(figure, "whole process", whole, OURS, aims[1]),
        _least(figure, f"`{COMMAND}`", whole, COMMAND, aims[1]),
        *compared(figure, "its memory at most", {OURS: memory}, "MB", aim=AIM_MB),
    ]


def _least(
    figure: str, what: str, seconds: dict[str, list[float]], who: str, aim: float | None
) -> Row:
    """The worst round, so that an aim that is met was met in each."""
    ratios = [loop / ours for loop, ours in zip(seconds[SEED], seconds[who], strict=True)]
    return Row(
        figure, f"{what}, loop's CPU / ours, worst of {len(ratios)}", OURS,
        min(ratios), "times", "more", aim=aim,
    )  # fmt: skip


def _add(rounds: dict[str, list[float]], who: str, value: float) -> None:
    rounds.setdefault(who, []).append(value)


def _write_and_compress(folder: Path, count: int) -> None:
    """As the exporter keeps them: closed parts are compressed within seconds, the last is open."""
    files = records.write_as_exporter(folder, count)
    at = datetime.fromisoformat(records.DAY).replace(tzinfo=UTC).timestamp()
    tidy(RetentionPolicy(folder, {"exporter": 1e9}, 10**12), at, UTC, [files.held])


def _write_foreign(folder: Path, count: int) -> None:
    records.write(folder / f"exporter-{records.DAY}.jsonl", count)


def _request(folder: Path) -> Request:
    start = datetime.fromisoformat(records.DAY).replace(tzinfo=UTC).timestamp()
    return Request(
        directory=folder, zone="UTC", start=start, end=start + 86400, title=records.DAY,
        reports=folder, due=(), budget=10, now=start + 90_000,
    )  # fmt: skip


def _used(arguments: Sequence[str], stdin: str = "", *, program: bool = True) -> Used:
    """Run a module of Python, or a program."""
    process = subprocess.Popen(
        [*([sys.executable] if program else []), *arguments], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    with process.stdin as into, process.stdout as out:
        into.write(stdin)
        into.close()
        said = out.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchmarkError(f"{arguments} ended with {process.returncode}")
    return Used(usage.ru_utime + usage.ru_stime, said, usage.ru_maxrss * 1024 / 1e6)
