"""State with real processes and real disks: killed, full, read-only, run twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import pytest

from exporter.state import AlreadyRunning, Claim, State, StateError, database
from exporter.util.clock import SystemClock
from tests.runs import ended

pytestmark = pytest.mark.integration

T = 1_790_000_000.0
REPOSITORY = Path(__file__).parents[2]

CLAIMER = """
    import asyncio, os, sys
    from pathlib import Path
    from exporter.util.clock import SystemClock
    from exporter.state import Claim, Run, State

    async def main():
        state = State.open(Path(sys.argv[1]), SystemClock())
        assert state.healthy, state.trouble
        async def one(slot):
            run_id = f"{os.getpid()}-{slot}"
            if await state.claim(Claim(run_id, "scan", float(slot), "schedule", float(slot))):
                os.write(1, f"{slot}\\n".encode())
                await state.finish(
                    Run(
                        run_id, "scan", float(slot), "schedule", float(slot), outcome="success",
                        started_at=float(slot), ended_at=float(slot),
                    )
                )
        first = int(sys.argv[2])
        for start in range(first, first + 100_000, 7):
            await asyncio.gather(*(one(slot) for slot in range(start, start + 7)))

    asyncio.run(main())
"""

KEEPER = """
    import asyncio, resource, sys
    from pathlib import Path
    from exporter.util.clock import SystemClock
    from exporter.state import Claim, State, StateError

    async def main():
        state = State.open(Path(sys.argv[1]), SystemClock())
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        for number in range(500):
            await state.keep("feed", str(number), "x" * 500)
        assert not state.durable
        try:
            await state.claim(Claim("r", "scan", 1.0, "schedule", 1.0))
        except StateError as error:
            print("refused:", error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        await state.probe()
        assert state.healthy, state.trouble
        assert await state.claim(Claim("r", "scan", 1.0, "schedule", 1.0))
        await state.close()

    asyncio.run(main())
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


async def test_kill_minus_nine_loses_no_answered_claim_and_doubles_none(tmp_path):
    """Each process starts below where the last one got to, and is killed at a random moment."""
    path = tmp_path / "state.db"
    dice = random.Random(7)
    answered: list[int] = []
    for _ in range(8):
        process = start(CLAIMER, path, max(0, max(answered, default=0) - 30))
        first = process.stdout.readline()
        time.sleep(dice.random() * 0.2)
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        # The last line may be cut by the kill.
        answered += [int(line) for line in (first + rest).splitlines(True) if line.endswith("\n")]
    assert len(answered) > 100
    assert [slot for slot, count in Counter(answered).items() if count > 1] == []
    state = State.open(path, SystemClock())
    assert state.healthy
    assert state.tasks
    rows = await state.history.runs(0, limit=10**6)
    assert {int(run.slot) for run in rows} >= set(answered)
    assert state.tasks["scan"].cursor >= max(answered)
    open_runs = {run.run_id for run in state.open_runs()}
    assert open_runs == {run.run_id for run in rows if run.outcome is None}
    await state.close()


async def test_a_file_that_may_not_grow_heals_with_everything_kept(tmp_path):
    """A limit on the file's size stands for the full disk; the claim is refused meanwhile."""
    path = tmp_path / "state.db"
    process = start(KEEPER, path)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert output.startswith("refused: ")
    state = State.open(path, SystemClock())
    assert len(state.kept("feed")) == 500
    await state.close()


async def test_a_second_process_is_refused_and_told_the_pid(tmp_path):
    """Killing the first one frees the role at once; reading needs no role."""
    path = tmp_path / "state.db"
    process = start(CLAIMER, path, 0)
    try:
        process.stdout.readline()
        with pytest.raises(AlreadyRunning, match=rf"\(pid {process.pid}\)") as refused:
            State.open(path, SystemClock())
        assert refused.value.pid == process.pid
        reader = State.open(path, SystemClock(), writer=False)
        assert reader.tasks["scan"].cursor is not None
    finally:
        process.kill()
        process.communicate()
    await State.open(path, SystemClock()).close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, 4 MB; a function remounts it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root and the right to mount")

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)

    yield disk, remount
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    return filler


async def test_a_full_disk_is_said_and_healed_from(small_disk):
    """Runs go on in memory; what they left is written when there is space."""
    disk, _ = small_disk
    path = disk / "state.db"
    state = State.open(path, SystemClock())
    assert await state.claim(Claim("r1", "scan", T, "schedule", T))
    filler = fill(disk)
    for number in range(300):
        await state.keep("feed", str(number), "x" * 1000)
    assert not state.durable
    assert "is full; free some space" in state.trouble
    with pytest.raises(StateError, match="full"):
        await state.claim(Claim("r2", "scan", T + 60, "schedule", T + 60))
    await state.finish(ended("r1", "scan", T, "success", T, T + 5))
    assert state.tasks["scan"].last_success == T + 5
    filler.unlink()
    await state.probe()
    assert (state.durable, state.healthy, state.trouble) == (True, True, None)
    assert await state.claim(Claim("r3", "scan", T + 60, "schedule", T + 60))
    await state.close()
    again = State.open(path, SystemClock())
    assert len(again.kept("feed")) == 300
    assert again.tasks["scan"].last_success == T + 5
    assert [run.run_id for run in again.open_runs()] == ["r3"]
    await again.close()


async def test_a_disk_that_is_full_from_the_start_is_healed_from(small_disk):
    """There is not even a file yet; nothing was known, so nothing is caught up."""
    disk, _ = small_disk
    filler = fill(disk)
    state = State.open(disk / "state.db", SystemClock())
    assert (state.durable, state.tasks) == (False, {})
    await state.register({"scan": "every 1h"}, T)
    filler.unlink()
    assert await state.claim(Claim("r1", "scan", T + 60, "schedule", T + 60))
    assert state.healthy
    await state.close()
    with closing(database.read_only(disk / "state.db")) as db:
        assert db.execute("SELECT name, schedule FROM tasks").fetchall() == [("scan", "every 1h")]


async def test_a_damaged_file_on_a_read_only_disk_is_not_believed(small_disk):
    """It is checked as on any other disk; half of what it held would let slots run twice."""
    disk, remount = small_disk
    path = disk / "state.db"
    before = State.open(path, SystemClock())
    await before.register({f"task{n}": "every 1h" for n in range(300)}, T)
    await before.close()
    content = bytearray(path.read_bytes())
    page = content.index(b"task299") // 4096 * 4096
    content[page : page + 8] = b"\xff" * 8  # the b-tree page's header
    path.write_bytes(content)
    remount("ro")
    state = State.open(path, SystemClock())
    try:
        assert not state.durable
        assert state.tasks == {}
        remount("rw")
        await state.probe()
        assert [each.name for each in disk.glob("state.db.corrupt-*")] != []
    finally:
        await state.close()


@pytest.mark.parametrize("killed", [False, True])
async def test_a_read_only_disk_still_knows_the_past(small_disk, killed):
    """After a clean end and after a kill; writing begins when it may."""
    disk, remount = small_disk
    path = disk / "state.db"
    if killed:
        process = start(CLAIMER, path, 0)
        process.stdout.readline()
        process.kill()
        process.communicate()
    else:
        before = State.open(path, SystemClock())
        await before.claim(Claim("r1", "scan", T, "schedule", T))
        await before.close()
    remount("ro")
    state = State.open(path, SystemClock())
    try:
        assert (state.durable, bool(state.tasks)) == (False, True)
        assert "make the file and its folder writable" in state.trouble
        assert state.tasks["scan"].cursor is not None
        with pytest.raises(AlreadyRunning):
            State.open(path, SystemClock())
        with pytest.raises(StateError, match="writable"):
            await state.claim(Claim("r2", "scan", T + 60, "schedule", T + 60))
        await state.advance("scan", T + 70)
        remount("rw")
        await state.probe()
        assert state.healthy
        assert await state.claim(Claim("r3", "scan", T + 120, "schedule", T + 120))
    finally:
        await state.close()
    again = State.open(path, SystemClock())
    assert again.tasks["scan"].cursor == T + 120
    await again.close()


async def test_a_damaged_file_that_cannot_be_moved_waits_for_the_disk(small_disk):
    """It is neither written over nor deleted; once the folder is writable it is set aside."""
    disk, remount = small_disk
    path = disk / "state.db"
    path.write_bytes(b"rubbish " * 1000)
    remount("ro")
    state = State.open(path, SystemClock())
    assert (state.durable, state.tasks) == (False, {})
    await state.register({"scan": "every 1h"}, T)
    remount("rw")
    await state.probe()
    assert (state.durable, state.healthy) == (True, False)
    (aside,) = disk.glob("state.db.corrupt-*")
    assert aside.read_bytes() == b"rubbish " * 1000
    assert await state.claim(Claim("r1", "scan", T + 60, "schedule", T + 60))
    await state.close()
