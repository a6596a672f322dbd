"""Attempts in real processes: how they are ended, what they leave behind, and who survives whom."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from exporter.runner import left_behind
from exporter.runner.worker import forkserver_client
from exporter.state import Run
from tests.runner_bench import Bench, is_alive, until
from tests.unit.tables import calendar

pytestmark = pytest.mark.integration

COUNTS_TERMS = """
import os, signal, sys, time
terms = 0
def on_term(*_):
    global terms
    terms += 1
    os.write(1, b"TERM\\n")
signal.signal(signal.SIGTERM, on_term)
open("ready", "w").close()
while not terms: time.sleep(0.05)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end: time.sleep(0.05)
os.write(1, b"flat, leaving\\n")
"""


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    (tmp_path / "bot.py").write_text(COUNTS_TERMS)
    yield bench
    await bench.runner.drain(0)


async def start(bench: Bench, **task: Any) -> asyncio.Task[Run | None]:
    """A run that has begun, when its command makes the file `ready`."""
    bench.configure(**task)
    bench.clock.advance(60)
    job = bench.runner.submit("t", bench.clock.now(), "schedule")
    await until((bench.folder / "ready").exists, 20)
    return job


async def result_of(job: asyncio.Task[Run | None]) -> Run:
    result = await asyncio.wait_for(job, 60)
    assert result
    return result


# --- how they are ended


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "bot.py", "0.3"],
        ["sh", "-c", f"{sys.executable} bot.py 0.3; true"],
        ["sh", "-c", f"setsid {sys.executable} bot.py 0.3 & wait"],
        ["sh", "-c", f"(setsid {sys.executable} bot.py 0.3 &); sleep 60"],
    ],
    ids=["alone", "in a shell", "in a session of its own", "orphaned"],
)
async def test_a_program_that_is_ended_gets_one_sigterm(bench: Bench, command: list[str]) -> None:
    """Many programs take the second for "leave now", with their orders still open."""
    job = await start(bench, command=command, timeout="2s")
    result = await result_of(job)
    assert result.outcome == "timeout"
    assert result.tail == "TERM\nflat, leaving"


@pytest.mark.parametrize("how", ["drain", "stop_now", "both"])
async def test_an_orderly_stop_sends_one_sigterm_too(bench: Bench, how: str) -> None:
    """Also when somebody hurries it while the program is leaving."""
    command = [sys.executable, "bot.py", "1"]
    job = await start(bench, command=command, interruptible=True)
    if how != "drain":
        bench.runner.stop_now()
    stopping = asyncio.create_task(bench.runner.drain(0))
    if how == "both":
        await asyncio.sleep(0.3)
        bench.runner.stop_now()
    assert (await result_of(job)).tail == "TERM\nflat, leaving"
    await stopping


@pytest.mark.parametrize(("grace", "says"), [("10s", "TERM\nflat, leaving"), ("0.3s", "TERM")])
async def test_stop_grace_says_how_long_it_may_take_to_leave(
    bench: Bench, grace: str, says: str
) -> None:
    """Then it is killed."""
    command = [sys.executable, "bot.py", "6"]
    job = await start(bench, command=command, timeout="1s", stop_grace=grace)
    assert (await result_of(job)).tail == says


async def test_stop_grace_holds_for_coroutines_too(bench: Bench) -> None:
    """They may tidy up for as long."""
    (bench.folder / "tidy_up.py").write_text(
        "import asyncio\nasync def f():\n  try: await asyncio.sleep(60)\n"
        "  finally:\n    await asyncio.sleep(0.5); open('done', 'w').close()\n"
    )
    for grace, tidied in (("0.1s", False), ("10s", True)):
        result = await bench.run(run="tidy_up:f", timeout="0.2s", stop_grace=grace)
        assert result.outcome == "timeout"
        assert Path("done").exists() == tidied
        await until(lambda: bench.runner._attempts.still_there("t") is None)
        Path("done").unlink(missing_ok=True)
        bench.clock.advance(60)


@pytest.mark.parametrize("kind", ["command", "function", "half a line"])
async def test_what_was_printed_until_a_timeout_is_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Python keeps output back when it writes to a pipe; a kill must not cost it."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    end = ", end=''" if kind == "half a line" else ""
    code = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('step 1: logged in'); "
        f"print('step 2: downloading'{end}); time.sleep(60)"
    )
    (bench.folder / "buffered.py").write_text(f"def f():\n    {code}\n")
    how: dict[str, Any] = {"run": "buffered:f"}
    if kind == "command":
        how = {"command": [sys.executable, "-c", code]}
    result = await bench.run(timeout="2s", stop_grace="0.1s", **how)
    assert (result.outcome, result.tail) == ("timeout", "step 1: logged in\nstep 2: downloading")


# --- what they leave behind

NOHUP = "nohup sleep 61 >/dev/null 2>&1 & echo $! > pid; echo bot started"


async def test_memory_of_a_run_is_known_while_it_lasts(bench: Bench) -> None:
    """Of all its processes together; none is left when it is over."""
    script = "import time; held = bytearray(80_000_000); time.sleep(60)"
    bench.configure(command=["sh", "-c", f'{sys.executable} -c "{script}" & wait'])
    job = bench.runner.submit("t", 100.0, "schedule")
    await until(lambda: bench.value("quant_task_memory_bytes") > 80_000_000, 20)
    assert bench.value("quant_task_memory_bytes") < 200_000_000
    bench.runner.stop_now()
    await job
    await until(lambda: bench.value("quant_task_memory_bytes") == 0)


async def test_a_run_that_leaves_a_process_behind_fails(bench: Bench) -> None:
    """The process is ended; a run that says success would hide that no bot runs."""
    result = await bench.run(command=["sh", "-c", NOHUP], retries=2, backoff="10ms")
    pid = int((bench.folder / "pid").read_text())
    assert (result.outcome, result.attempts) == ("error", 1)
    assert result.error and result.error.startswith(
        f"left 1 process behind, which was ended: process {pid} (sleep, of "
    )
    assert "may_leave_processes: true" in result.error
    assert not is_alive(pid)


async def test_a_function_that_leaves_a_process_behind_fails(bench: Bench) -> None:
    """Also one that forked twice and left its session."""
    result = await bench.run("leaves_child")
    assert result.error and "left 1 process behind, which was ended" in result.error
    assert not is_alive(int((bench.folder / "stray").read_text()))


async def test_a_run_that_fails_says_what_it_left_behind_too(bench: Bench) -> None:
    """Behind why it failed."""
    result = await bench.run(command=["sh", "-c", f"{NOHUP}; echo no broker; exit 3"])
    assert result.error and result.error.startswith("exit code 3: no broker; left 1 process behind")


async def test_what_may_be_left_lives_and_is_counted(bench: Bench) -> None:
    """It is not hurt by the end of its run either: what it prints then is read."""
    script = "(for n in $(seq 90000); do echo working; done; echo > done; sleep 61) & echo $! > pid"
    result = await bench.run(command=["sh", "-c", script], may_leave_processes=True)
    assert result.outcome == "success"
    pid = int((bench.folder / "pid").read_text())
    await until(lambda: bench.value("quant_task_left_processes"))
    assert bench.value("quant_task_running") == 0
    await until((bench.folder / "done").exists, 30)
    assert bench.value("quant_task_left_processes") == 1
    os.kill(pid, signal.SIGTERM)
    await until(lambda: bench.value("quant_task_left_processes") == 0)


async def test_what_may_be_left_outlives_the_exporter(bench: Bench) -> None:
    """Also when it goes on printing, and nobody reads that any more; the next one counts it."""
    script = "while true; do echo working; sleep 0.01; done & echo $! > pid"
    result = await bench.run(command=["sh", "-c", script], may_leave_processes=True)
    pid = int((bench.folder / "pid").read_text())
    try:
        assert result.outcome == "success"
        await bench.runner.drain(0)
        await asyncio.sleep(0.5)
        assert is_alive(pid)
        later = bench.started_again()
        await later.runner.recover()
        assert later.value("quant_task_left_processes")
        assert later.value("quant_task_running") == 0
    finally:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: later.value("quant_task_left_processes") == 0)
    await later.runner.drain(0)
    assert await after_another_start(later) == {"t": []}


async def after_another_start(bench: Bench) -> dict[str, Any]:
    """What state still notes of left processes."""
    await bench.started_again().runner.recover()
    await asyncio.sleep(0)
    return bench.store.kept("left_processes")


async def test_a_timeout_ends_what_might_have_been_left(bench: Bench) -> None:
    """The run did not come to its end, so nothing of it may go on."""
    command = ["sh", "-c", f"{NOHUP}; sleep 60"]
    result = await bench.run(command=command, may_leave_processes=True, timeout="1s")
    assert result.outcome == "timeout"
    assert not is_alive(int((bench.folder / "pid").read_text()))


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
async def test_pools_of_processes_leave_nothing_behind(bench: Bench, method: str) -> None:
    """Python's own helpers end a moment after the program: nothing is wrong with it."""
    (bench.folder / "pools.py").write_text(
        textwrap.dedent(f"""
            import multiprocessing, multiprocessing.shared_memory
            from concurrent.futures import ProcessPoolExecutor
            def square(n): return n * n
            def f():
                context = multiprocessing.get_context({method!r})
                with context.Pool(2) as pool: first = pool.map(square, range(4))
                with ProcessPoolExecutor(2, mp_context=context) as pool:
                    return first + list(pool.map(square, range(4)))
        """)
    )
    result = await bench.run(run="pools:f")
    assert (result.outcome, result.items, result.tail) == ("success", 8, None), result.error


@pytest.mark.parametrize("fork", ["os.fork()", "pty.fork()[0]"])
async def test_one_sigterm_ends_what_a_function_has_just_forked(bench: Bench, fork: str) -> None:
    """However early it comes: a pool that ends its new workers waits for them without a limit."""
    (bench.folder / "forking.py").write_text(
        textwrap.dedent(f"""
            import os, pty, signal, time
            def f():
                ends = set()
                for _ in range(200):
                    if not (pid := {fork}):
                        time.sleep(60)
                        os._exit(0)
                    os.kill(pid, signal.SIGTERM)
                    ends.add(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                assert ends == {{-signal.SIGTERM}}, ends
                assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        """)
    )
    result = await bench.run(run="forking:f")
    assert (result.outcome, result.tail) == ("success", None), result.error


# --- who survives whom


async def test_running_attempts_go_on_when_the_helper_dies(bench: Bench) -> None:
    """A live order may be between "sent" and "confirmed"; new work goes to another helper."""
    job = await start(
        bench, command=["sh", "-c", "echo sent; echo > ready; sleep 2; echo confirmed"]
    )
    first = bench.runner.helper_pid
    assert first
    os.kill(first, signal.SIGKILL)
    await until(lambda: bench.runner.helper_pid is None)
    other = bench.runner._attempts.workers
    other.start()
    assert other.helper_pid not in (None, first)
    result = await result_of(job)
    assert (result.outcome, result.tail) == ("success", "sent\nconfirmed")


async def test_running_attempts_go_on_when_the_helper_does_not_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped for longer than anybody waits for it, as by a machine that swaps."""
    job = await start(bench, command=["sh", "-c", "echo > ready; sleep 3; echo confirmed"])
    monkeypatch.setattr(forkserver_client, "_ANSWER_SECONDS", 0.5)
    stalled = bench.runner.helper_pid
    assert stalled
    os.kill(stalled, signal.SIGSTOP)
    process = await bench.runner._attempts.workers.spawn(
        0, 1, 0, forkserver_client.GuardOrder(1.0, may_leave=False)
    )
    assert bench.runner.helper_pid != stalled
    process.close()
    result = await result_of(job)
    assert (result.outcome, result.tail) == ("success", "confirmed")


async def test_a_run_whose_guardian_is_killed_is_lost_alone(bench: Bench) -> None:
    """Nothing of it goes on unwatched; the next one is started as usual."""
    job = await start(bench, command=["sh", "-c", "echo $$ > pid; echo > ready; sleep 60"])
    pid = int((bench.folder / "pid").read_text())
    guardian = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(guardian, signal.SIGKILL)
    result = await result_of(job)
    assert result.error == "its process was lost: the one that guards it was killed"
    await until(lambda: not is_alive(pid))
    bench.clock.advance(60)
    assert (await bench.run("two")).outcome == "success"


UNKILLABLE = """
import asyncio, sys
from pathlib import Path
from tests.runner_bench import Bench, until

async def main():
    bench = Bench(Path(sys.argv[1]))
    other = bench.runner
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *sys.argv[2:]]
    task = {"command": command, "timeout": "1s", "stop_grace": "0.2s", "retries": 2}
    result = await bench.run(**task)
    print(result.outcome, result.attempts, result.error, sep="|")
    print(bench.value("quant_task_running"), bench.value("quant_task_left_processes"))
    bench.clock.advance(60)
    print(await bench.runner.submit("t", bench.clock.now(), "schedule"))
    print(bench.value("quant_task_skipped_total", reason="overlap"))
    await bench.runner.drain(0)
    later = bench.started_again()
    await later.runner.recover()
    print(later.value("quant_task_running"), later.value("quant_task_left_processes"))
    print(await later.runner.submit("t", bench.clock.now(), "schedule"), flush=True)
    await until(lambda: later.value("quant_task_running") == 0, 30)
    await later.runner.drain(0)

asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make what may not be killed")
@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        (["sleep", "50"], "timeout|1|did not end within 1s; could not be ended: process "),
        (["sh", "-c", "sleep 50 & exit 0"], "error|1|could not be ended: process "),
    ],
    ids=["itself", "what it left behind"],
)
def test_what_cannot_be_ended_is_given_up_alone(
    tmp_path: Path, command: list[str], outcome: str
) -> None:
    """It is never said to have ended; its task counts as running until it is gone, also for an
    exporter that starts later."""
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed")
    root = Path(__file__).parents[2]
    errors = tmp_path / "errors"
    with errors.open("w") as file, subprocess.Popen(
        ["setpriv", "--inh-caps=-kill", "--bounding-set=-kill", sys.executable, "-c", UNKILLABLE,
         str(tmp_path), *command],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, text=True,
        stdout=subprocess.PIPE, stderr=file,
    ) as process:  # fmt: skip
        assert process.stdout
        said = [process.stdout.readline().rstrip() for _ in range(6)]
        sleeps = re.search(r"process (\d+) \(sleep, of nobody\)", said[0])
        assert sleeps, (said, errors.read_text())
        os.kill(int(sleeps[1]), signal.SIGKILL)
        assert process.wait(60) == 0, errors.read_text()
    first, counts, again, skipped, later, late = said
    assert first.startswith(outcome), said
    assert (counts, again, skipped) == ("1.0 1.0", "None", "1.0")
    assert (later, late) == ("1.0 1.0", "None")


async def test_an_exporter_that_starts_after_a_kill_knows_what_still_runs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first could not end, since it was killed, is noted while it runs, not afterwards."""
    monkeypatch.setattr(left_behind, "LONG_RUN_SECONDS", 0.1)
    bench.configure(command=["sleep", "60"], rerun_after_crash=True, idempotent=True)
    run = bench.runner.submit("t", bench.clock.now(), "schedule")
    await until(lambda: bench.store.kept(left_behind.KIND).get("t"))
    later = bench.started_again()
    await later.runner.recover()
    assert await later.runner.submit("t", later.clock.now() + 60, "schedule") is None
    assert later.value("quant_task_skipped_total", reason="overlap") == 1
    bench.runner.stop_now()
    await run
    await until(lambda: later.value("quant_task_left_processes") == 0)
    await until(lambda: bench.store.kept(left_behind.KIND)["t"] == [])
    await later.runner.drain(0)


# --- their environment


async def test_variables_that_programs_read_at_their_start_reach_functions(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The loader and Python look at them once, before any fork; secrets of ours stay out."""
    folder = tmp_path / "lib"
    folder.mkdir()
    shutil.copy(_libraries()[0], folder / "libfakeindicators.so")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.setenv("SOURCE_KEY", "hunter2")
    (bench.folder / "loads.py").write_text(
        textwrap.dedent("""
            import ctypes, sys
            def f():
                ctypes.CDLL("libfakeindicators.so")
                assert "hunter2" not in open("/proc/self/environ").read()
                return hash("quant") % 1000
        """)
    )
    fresh = Bench(bench.folder)
    expected = subprocess.run(
        [sys.executable, "-c", "print(hash('quant') % 1000)"], capture_output=True, check=True
    )
    result = await fresh.run(run="loads:f")
    await fresh.runner.drain(0)
    assert (result.outcome, result.items) == ("success", int(expected.stdout)), result.error


@pytest.mark.parametrize("how", ["command", "function"])
async def test_a_run_finds_the_facts_of_its_session_in_its_environment(
    bench: Bench, how: str
) -> None:
    """So that it can tell the month's last trading day without a calendar."""
    (bench.folder / "day.py").write_text(
        "import os\ndef f():\n"
        "    assert os.environ['QUANT_LAST_SESSION_OF_MONTH'] in ('0', '1')\n"
        "    print(os.environ['QUANT_EXCHANGE'], os.environ['QUANT_NEXT_SESSION'])\n"
    )
    ways: dict[str, Any] = {
        "command": {"command": [sys.executable, "-c", "import day; day.f()"]},
        "function": {"run": "day:f"},
    }
    bench.services.calendar = calendar
    bench.clock.set(datetime(2026, 11, 30, 21, 0, tzinfo=UTC).timestamp())
    result = await bench.run(exchange="XNYS", **ways[how])
    assert (result.outcome, result.tail) == ("success", "XNYS 2026-12-01"), result.error


async def test_a_command_gets_its_folder_its_variables_and_its_secrets(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source's key too, which is left out otherwise; one that is not there is said."""
    monkeypatch.setenv("SOURCE_KEY", "k-123")
    (bench.folder / "bots").mkdir()
    (bench.folder / "bots/say.sh").write_text('#!/bin/sh\necho "$MODE ${SOURCE_KEY:-none} $PWD"\n')
    (bench.folder / "bots/say.sh").chmod(0o755)
    task = {"command": ["./say.sh"], "cwd": "bots", "env": {"MODE": "live"}}
    assert (await bench.run(**task)).tail == f"live none {bench.folder}/bots"
    bench.clock.advance(60)
    result = await bench.run(**task, secrets=["SOURCE_KEY"])
    assert result.tail == f"live k-123 {bench.folder}/bots"
    bench.clock.advance(60)
    result = await bench.run(**task, secrets=["NO_SUCH_KEY"], retries=3)
    assert (result.outcome, result.attempts) == ("error", 1)
    assert str(result.error).startswith("secrets: NO_SUCH_KEY is not set; export NO_SUCH_KEY=")


async def test_only_the_exit_codes_that_a_task_names_are_tried_again(bench: Bench) -> None:
    """And one may mean that there was nothing to do it with."""
    how = {"retries": 2, "backoff": "10ms", "retry_on": [75], "nothing_on": [3]}
    for code, outcome, attempts in ((75, "error", 3), (2, "error", 1), (3, "no_data", 1)):
        bench.clock.advance(60)
        result = await bench.run(command=["sh", "-c", f"exit {code}"], **how)
        assert (result.outcome, result.attempts) == (outcome, attempts)


def _libraries() -> list[Path]:
    """Shared libraries of this system, any of which may be loaded under another name."""
    return sorted(
        path for folder in ("/lib", "/usr/lib", "/lib64") for path in
        Path(folder).glob("**/libz.so.1*")
    )  # fmt: skip


async def test_the_loop_goes_on_while_attempts_are_ended(bench: Bench) -> None:
    """However stubborn they are."""
    bench.configure(run="user_code:hangs", timeout="0.3s", stop_grace="0.5s")
    job = bench.runner.submit("t", 100.0, "schedule")
    longest = 0.0
    while not job.done():
        began = time.perf_counter()
        await asyncio.sleep(0.005)
        longest = max(longest, time.perf_counter() - began)
    assert longest < 0.5
