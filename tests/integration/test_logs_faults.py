"""What happens to log files while a program writes them: kills, full disks, folders that go, an
outside logrotate. Real files, real processes, a real small disk."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from exporter.cli import logs as ask
from exporter.config import Config, Followed, Logs
from exporter.logs.digest.build import build
from exporter.logs.digest.facts import Request
from exporter.logs.files import files_of
from exporter.logs.reader import parse, raw_lines
from exporter.logs.tail.follow import STEP_BYTES, Follower
from exporter.metrics import Metrics
from tests.unit.logs.test_follow import Kept

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]


class Writer:
    """The program of log_writer.py."""

    def __init__(self, directory: Path, *flood: str, before: tuple[str, ...] = ()) -> None:
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "tests.integration.log_writer", directory, *flood],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip

    def do(self, *commands: str) -> None:
        """Have it do that, without waiting."""
        assert self.process.stdin
        self.process.stdin.write("".join(f"{command}\n" for command in commands))
        self.process.stdin.flush()

    def state(self, *commands: str) -> dict[str, Any]:
        """What its metrics say once it has done that."""
        self.do(*commands, "state")
        assert self.process.stdout
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def until(self, **wanted: float) -> dict[str, Any]:
        """Wait until its metrics say that."""
        ends = time.monotonic() + 30
        while (state := self.state()) | wanted != state:
            assert time.monotonic() < ends, state
            time.sleep(0.05)
        return state

    def end(self) -> None:
        """An orderly stop."""
        self.process.communicate(timeout=30)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    made = Writer(tmp_path / "log")
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def numbers(*paths: Path) -> list[int]:
    """The numbers of the lines in these files, in their order."""
    found = []
    for path in paths:
        for line in raw_lines(path):
            record = parse(line)
            if record is not None and record["logger"] == "writer":
                found.append(int(record["message"].split()[0]))
    return found


def open_file(directory: Path) -> Path:
    (path,) = [file.path for file in files_of(directory, "exporter") if file.open]
    return path


def test_a_kill_leaves_at_most_one_broken_line_that_every_reader_skips_and_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed again and again in the middle of writing; what was written before is all there."""
    directory = tmp_path / "log"
    directory.mkdir()
    kept, registry = Kept(), CollectorRegistry()
    follower = Follower(kept, Metrics(registry))
    followed = directory / "copy.log"
    follower.apply({"own": Followed(path=followed, format="json")})
    asyncio.run(follower.step())
    began, kills = time.time() - 60, 4
    for _ in range(kills):
        victim = Writer(directory, "flood")
        ends = time.monotonic() + 30
        before = total(directory)
        while total(directory) < before + 300_000:
            assert time.monotonic() < ends
            time.sleep(0.01)
        os.kill(victim.process.pid, signal.SIGKILL)
        victim.process.communicate()
    # The last line may be half; one more start ends it.
    last = Writer(directory)
    last.do("log 1")
    last.end()
    lines = [line for file in files_of(directory, "exporter") for line in raw_lines(file.path)]
    broken = sum(parse(line) is None for line in lines)
    assert broken <= kills
    found = numbers(*paths_of(directory))
    starts = [place for place, number in enumerate(found) if number == 0]
    assert len(starts) == kills + 1
    for start, end in zip(starts, [*starts[1:], len(found)], strict=True):
        assert found[start:end] == list(range(end - start))
    request = Request(directory, "UTC", began, time.time() + 60, "now", tmp_path)
    digest = build(request)
    assert (digest.records, digest.broken_lines) == (len(found), broken)
    config = Config(state=tmp_path / "state.db", timezone="UTC", logs=Logs(directory=directory))
    assert ask.main(config, since="1h") == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == len(found)
    assert ("broken" in printed.err) == bool(broken)
    followed.write_bytes(b"".join(line + b"\n" for line in lines))
    asyncio.run(follower.step())
    labels = {"file": "own"}
    assert registry.get_sample_value("quant_log_followed_lines_total", labels) == len(lines)
    assert registry.get_sample_value("quant_log_broken_total", labels) == broken


def paths_of(directory: Path) -> list[Path]:
    return [file.path for file in files_of(directory, "exporter")]


def total(directory: Path) -> int:
    sizes = 0
    for path in directory.glob("exporter-*"):
        try:
            sizes += path.stat().st_size
        except FileNotFoundError:  # compressed just now
            continue
    return sizes


IN_A_ROOM_OF_ITS_OWN = ("unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",)))
FULL_DISK = """
import json, os, sys
from pathlib import Path
from tests.integration.test_logs_faults import Writer, numbers, paths_of
disk = Path(sys.argv[1])
writer = Writer(disk / "log")
writer.until(healthy=1.0)
writer.state("log 100", "flush")
filler = disk / "filler"
with filler.open("wb", 0) as file:
    try:
        while True:
            file.write(bytes(65536))
    except OSError:
        pass
full = writer.state("log 50000")
writer.until(healthy=0.0)
assert full["lost"] > 0, full
filler.unlink()
writer.until(healthy=1.0)
writer.state("flush")  # what waited is written, so there is room again
healed = writer.state("log 100", "flush")
writer.end()
found = numbers(*paths_of(disk / "log"))
assert found == sorted(set(found))
print(json.dumps(healed | {"found": len(found), "last": found[-1]}))
"""


@pytest.mark.skipif(
    subprocess.run([*IN_A_ROOM_OF_ITS_OWN, "true"], capture_output=True, check=False).returncode
    != 0,
    reason="no mount namespace may be made here",
)
def test_a_full_disk_ends_nothing_and_what_is_lost_is_counted(tmp_path: Path) -> None:
    """On a real disk of 24 MB: lines wait, then are lost and counted, then all goes on."""
    done = subprocess.run(
        [
            *IN_A_ROOM_OF_ITS_OWN, "sh", "-c",
            'mount -t tmpfs -o size=24m tmpfs "$1" && exec "$0" -c "$2" "$1"',
            sys.executable, str(tmp_path), FULL_DISK,
        ],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    state = json.loads(done.stdout)
    assert state["logged"] == 50_200
    assert state["lost"] > 0
    assert state["found"] + state["lost"] == state["logged"]
    assert state["last"] == state["logged"] - 1
    assert state["healthy"] == 1.0


def test_a_folder_that_is_deleted_while_lines_come_costs_none_that_come_after(
    writer: Writer, tmp_path: Path
) -> None:
    """It is made anew; the program goes on without a pause."""
    directory = tmp_path / "log"
    writer.state("log 500", "flush")
    writer.do(*["log 200"] * 100)
    time.sleep(0.05)
    shutil.rmtree(directory)
    after = writer.state()["logged"]
    state = writer.state("log 500", "flush")
    found = numbers(*paths_of(directory))
    assert found == list(range(found[0], state["logged"]))
    assert found[0] <= after
    assert (state["lost"], state["healthy"]) == (0, 1)


@pytest.mark.parametrize("way", ["moved", "moved and created", "copied and cut"])
def test_an_outside_logrotate_may_do_its_work(writer: Writer, tmp_path: Path, way: str) -> None:
    """By `nocreate`, `create` or `copytruncate`, while lines are written. Nothing is lost but what
    copytruncate itself cannot save, and no file has a hole."""
    directory = tmp_path / "log"
    writer.state("log 500", "flush")
    turned = []
    for turn in range(5):
        writer.do(*["log 100"] * 20)
        path, aside = open_file(directory), tmp_path / f"turned.{turn}"
        if way == "copied and cut":
            shutil.copy(path, aside)
            os.truncate(path, 0)
        else:
            path.rename(aside)
            if way == "moved and created":
                path.touch()
        turned.append(aside)
        writer.state("log 1", "flush")
    state = writer.state("log 100", "flush")
    found = numbers(*turned, *paths_of(directory))
    assert found == sorted(set(found))
    assert found[-1] == state["logged"] - 1
    if way != "copied and cut":
        assert found == list(range(state["logged"]))
    assert all(b"\0" not in path.read_bytes() for path in [*turned, *paths_of(directory)])
    assert (state["lost"], state["healthy"]) == (0, 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up a right that only root has")
def test_a_folder_without_permission_is_said_and_heals(tmp_path: Path) -> None:
    """Lines wait until it may be written to. The writer is root without the right to write
    everywhere; it may still read everywhere, so the checkout may lie in a closed folder."""
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    os.chown(home, 65534, 65534)
    limited = ("setpriv", "--inh-caps=-dac_override", "--bounding-set=-dac_override")
    writer = Writer(home / "log", before=limited)
    try:
        writer.do("log 100")
        assert writer.until(healthy=0.0)["written"] == 0
        os.chown(home, 0, 0)
        home.chmod(0o755)
        assert writer.until(healthy=1.0, written=100.0)["lost"] == 0
        writer.end()
        assert numbers(*paths_of(home / "log")) == list(range(100))
    finally:
        writer.process.kill()
        writer.process.wait()


def test_a_burst_of_a_hundred_megabytes_is_read_in_steps(tmp_path: Path) -> None:
    """Each step is bounded, so that others have their turn; nothing is missed."""
    path = tmp_path / "bot.log"
    path.touch()
    registry = CollectorRegistry()
    follower = Follower(Kept(), Metrics(registry))
    follower.apply({"bot": Followed(path=path, patterns={"failed": "Timeout"})})
    asyncio.run(follower.step())
    block = (b"x" * 99 + b"\n") * 999 + b"Timeout" + b"y" * 92 + b"\n"
    with path.open("ab") as file:
        for _ in range(1050):
            file.write(block)
    steps = 0
    while not steps or registry.get_sample_value("quant_log_lag_bytes", {"file": "bot"}):
        asyncio.run(follower.step())
        steps += 1
    asyncio.run(follower.step())
    assert steps >= 1050 * len(block) // (STEP_BYTES + 300_000)
    value = registry.get_sample_value
    assert value("quant_log_followed_lines_total", {"file": "bot"}) == 1_050_000
    assert value("quant_log_matches_total", {"file": "bot", "pattern": "failed"}) == 1050
