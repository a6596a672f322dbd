"""Runs: one outcome each, whatever the task does."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from exporter.config import Config
from exporter.runner import loop_guard as holding
from exporter.runner.external import Ping
from exporter.runner.results import BusyError
from exporter.runner.worker import supervisor
from exporter.state import Run, StateError
from exporter.web.tasks_view import TasksView
from tests.runner_bench import Bench, NoDisk, is_alive, until


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.runner.drain(0)


@pytest.mark.parametrize(
    ("name", "outcome", "items", "error"),
    [
        ("two", "success", 2, None),
        ("raises", "error", None, "ValueError: broken badly"),
        ("no_data", "no_data", None, "nothing for NVDA.US"),
        ("stale", "stale_data", None, "NVDA.US is of yesterday"),
        ("permanent", "error", None, "Permanent: no such account"),
        ("typo", "error", None, "NameError: name 'undefined_name' is not defined"),
        ("nonsense", "error", None, "returned 'ok'; return the number of items"),
        ("yes", "success", None, None),
        ("no", "error", None, "returned False"),
        ("minus", "error", None, "returned -1; return the number of items"),
        ("unpicklable", "error", None, "returned generator; return the number"),
        ("bad_size", "error", None, "that has no size: RuntimeError: no size"),
        ("exits", "success", None, None),
        ("exits_none", "success", None, None),
        ("exits_3", "error", None, "called sys.exit(3): no broker: connection refused"),
        ("exits_text", "error", None, "called sys.exit: no account"),
        ("argparse_main", "success", None, None),
        ("argv", "success", 1, None),
        ("exits_hard", "error", None, "the process ended (exit code 0) before the function"),
        ("segfaults", "error", None, "was ended by SIGSEGV"),
        ("missing", "error", None, "user_code has no function 'missing'"),
        ("closes_stdout", "success", 1, None),
        ("closes_all", "error", None, "before the function returned"),
        ("forks", "success", 1, None),
        ("prints_much", "success", 1, None),
        ("bars", "success", 1, None),
        ("bad_symbol", "error", None, "SourceError: 2002 no such symbol"),
        ("catches", "success", 3, None),
        ("co", "success", 3, None),
        ("co_raises", "error", None, "KeyError: 'x'"),
        ("co_yields", "error", None, "returned async_generator; return the number"),
        ("co_exits", "error", None, "called sys.exit(3)"),
        ("co_argv", "success", 1, None),
        ("co_cancels_itself", "error", None, "the coroutine cancelled itself"),
        ("co_raises_cancelled", "error", None, "the coroutine cancelled itself"),
        ("co_awaits_a_cancelled_task", "error", None, "the coroutine cancelled itself"),
        ("co_bars", "success", 1, None),
    ],
)
async def test_every_way_to_end_has_one_outcome(
    bench: Bench, name: str, outcome: str, items: int | None, error: str | None
) -> None:
    """Whatever a task does, the run ends once, with the outcome that fits."""
    result = await bench.run(name)
    assert (result.outcome, error is None) == (outcome, result.error is None), result
    assert (error or "") in (result.error or "")
    assert [end.outcome for end in bench.store.ends] == [outcome]
    assert bench.store.ends[0].items == items
    assert bench.value("quant_task_runs_total") == 1
    failed = 0 if outcome == "success" else 1
    reasons = ("error", "timeout", "no_data", "stale_data", "crashed")
    counts = [bench.value("quant_task_failures_total", reason=reason) for reason in reasons]
    assert sum(count or 0 for count in counts) == failed


async def test_a_timeout_ends_what_ignores_sigterm(bench: Bench) -> None:
    """A function that swallows everything is gone after its timeout."""
    result = await bench.run("hangs", timeout="0.3s", stop_grace="0.2s")
    assert (result.outcome, result.error) == ("timeout", "did not end within 0.3s")
    assert bench.value("quant_task_running") == 0


async def test_a_timeout_lets_finally_blocks_run(bench: Bench) -> None:
    """SIGTERM first: the user's code may tidy up."""
    result = await bench.run("tidies", timeout="2s")
    assert result.outcome == "timeout"
    assert (bench.folder / "tidy").read_text() == "done"


async def test_a_coroutine_that_hangs_times_out(bench: Bench) -> None:
    """Its cancellation is a timeout, not a crash."""
    assert (await bench.run("co_hangs", timeout="0.2s")).outcome == "timeout"


async def test_a_coroutine_that_blocks_is_named(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody should have to search for who held the loop."""
    await bench.run("co_blocks")
    assert "blocked the event loop" in caplog.text


async def test_a_coroutine_that_held_the_loop_beyond_its_limit_is_a_timeout(bench: Bench) -> None:
    """It could not be cancelled in time, but in time it was not."""
    assert (await bench.run("co_blocks", timeout="10ms")).outcome == "timeout"


@pytest.mark.parametrize("name", ["co_never_lets_go", "co_burns"])
async def test_a_coroutine_that_never_lets_go_of_the_loop_is_ended(
    bench: Bench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its timeout, or before: page, scrape and all other tasks stand still meanwhile."""
    result = await bench.run(name, timeout="1s", retries=0)
    assert result.outcome == "timeout"
    assert f"in {name}" in str(result.tail)
    monkeypatch.setattr(holding, "HOLD_SECONDS", 0.3)
    bench.clock.advance(60)
    result = await bench.run(name)
    assert result.outcome == "error"
    assert "blocked the event loop" in str(result.error)


async def test_a_process_that_a_function_forked_ends_at_sigterm_without_a_word(
    bench: Bench,
) -> None:
    """As the workers of a pool do; our own way to end the function is not theirs."""
    (bench.folder / "pool.py").write_text(
        "import os, signal, time\ndef f():\n"
        "    ready, say = os.pipe()\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n        print('forked'); os.write(say, b'.'); time.sleep(60)\n"
        "    os.read(ready, 1); os.kill(pid, signal.SIGTERM)\n"
        "    return os.waitpid(pid, 0)[1]\n"
    )
    result = await bench.run(run="pool:f")
    assert (result.items, result.tail) == (signal.SIGTERM, "forked")


async def test_what_may_pass_is_tried_again(bench: Bench) -> None:
    """One retry, one run, one outcome."""
    result = await bench.run("fails_once", retries=2, backoff="10ms")
    assert (result.outcome, result.attempts, result.items) == ("success", 2, 2)
    assert bench.value("quant_task_retries_total") == 1
    assert len(bench.store.ends) == 1


@pytest.mark.parametrize(("max_runtime", "attempts"), [("20s", 2), ("300ms", 1)])
async def test_a_source_says_when_the_next_attempt_may_follow(
    bench: Bench, max_runtime: str, attempts: int
) -> None:
    """Not the back-off, which is shorter; where the run would be over by then, there is none."""
    began = time.monotonic()
    result = await bench.run(
        "co_rate_limited", retries=1, backoff="10ms", timeout="20s", max_runtime=max_runtime
    )
    assert (result.attempts, result.outcome) == (attempts, "success" if attempts == 2 else "error")
    assert (time.monotonic() - began >= 0.5) == (attempts == 2)


@pytest.mark.parametrize("name", ["typo", "permanent", "nonsense"])
async def test_what_cannot_pass_is_not_tried_again(bench: Bench, name: str) -> None:
    """A wrong name is as wrong the second time."""
    assert (await bench.run(name, retries=3, backoff="10ms")).attempts == 1


async def test_a_flood_of_log_lines_is_cut_and_said(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The run goes on; the log says how much is missing."""
    caplog.set_level("INFO")
    assert (await bench.run("logs_much")).outcome == "success"
    lines = [r for r in caplog.records if r.name == "loud"]
    assert 1000 < len(lines) < 10_000
    (told,) = [r for r in caplog.records if "log records of this run were dropped" in r.message]
    assert bench.registry.get_sample_value("quant_log_dropped_total") == told.count > 0


async def test_log_lines_of_a_worker_keep_their_fields(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Name, level, text and structured fields arrive as they were logged."""
    await bench.run("logs")
    record = next(r for r in caplog.records if r.name == "task.t")
    assert (record.getMessage(), record.levelname) == ("hello there", "WARNING")
    assert record.__dict__["event"] == "greeting"


async def test_the_tail_is_kept_and_masked(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """What a failed run printed is there, without secrets; its line has the error as a field."""
    result = await bench.run(command=["sh", "-c", "echo pass hunter2; exit 3"])
    assert (result.outcome, result.error) == ("error", "exit code 3: pass ***")
    assert bench.store.ends[0].tail == "pass ***"
    (told,) = [r for r in caplog.records if vars(r).get("event") == "run_ended"]
    assert vars(told)["error_message"] == "exit code 3: pass ***"
    assert told.getMessage().endswith("s: exit code 3: pass ***\npass ***")


async def test_what_a_success_printed_is_in_the_log_too(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever looks a run up should not have to wait for a failure."""
    caplog.set_level("INFO")
    result = await bench.run(command=["sh", "-c", "echo pass hunter2"])
    assert (result.outcome, result.tail) == ("success", "pass ***")
    (line,) = [r for r in caplog.records if vars(r).get("event") == "run_ended"]
    assert re.fullmatch(r"ended with success after \d\.\d s\npass \*\*\*", line.getMessage())


async def test_what_coroutines_print_is_kept_run_by_run(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two at the same time, also from a thread; what nobody's run prints passes as before."""
    config = Config.model_validate({"code": ["."], "tasks": {
        name: {"run": "user_code:co_prints", "schedule": "every 1h", "params": {"n": name}}
        for name in ("a", "b")
    }})  # fmt: skip
    bench.runner.apply(config.model_copy(update={"code": (Path(),)}))
    jobs = [bench.runner.submit(name, 100.0, "schedule") for name in ("a", "b")]
    await asyncio.sleep(0.05)
    print("not of a run")
    for name, job in zip(("a", "b"), jobs, strict=True):
        result = await job
        assert result and result.tail == f"one of {name}\nin a thread"
    assert capsys.readouterr().out == "not of a run\n"


@pytest.mark.parametrize("kind", ["function", "command"])
async def test_of_a_talkative_run_that_fails_the_log_has_the_end(
    bench: Bench, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """The end says why; what is cut is the beginning."""
    script = "for n in range(400): print(n, 'request sent, all well so far')\n"
    if kind == "function":
        (bench.folder / "talks.py").write_text(
            f"def place(): raise RuntimeError('margin call')\ndef f():\n  {script}  place()\n"
        )
        how: dict[str, Any] = {"run": "talks:f"}
    else:
        script += "print('FATAL broker refused login'); print('cleaning up'); exit(3)"
        how = {"command": [sys.executable, "-c", script]}
    result = await bench.run(**how)
    (line,) = [r for r in caplog.records if vars(r).get("event") == "run_ended"]
    message = line.getMessage()
    assert len(message) < 8000
    if kind == "function":
        assert "in place" in message
        assert message.endswith("RuntimeError: margin call")
    else:
        assert result.error == "exit code 3: FATAL broker refused login"
        assert message.endswith("FATAL broker refused login\ncleaning up")


@pytest.mark.parametrize("name", ["half_secret", "half_secret_in_trace", "returns_secret"])
async def test_no_text_of_a_run_has_half_a_secret(bench: Bench, name: str) -> None:
    """What is cut is masked first, or begins and ends with a whole word."""
    result = await bench.run(name)
    assert result.error
    assert len(result.error) <= 500
    assert not re.search("hun|ter2", result.error)
    assert not re.search("hun|ter2", result.tail or "")


async def test_the_last_line_of_a_command_is_cut_when_it_is_masked(bench: Bench) -> None:
    """Its end would else show half a secret."""
    for filler in (196, 484):
        text = "x" * filler + "hunter2"
        told = await bench.run(command=["sh", "-c", f"echo {text}; exit 3"])
        bench.clock.advance(60)
        assert "hun" not in str(told.error)


async def test_an_error_that_is_no_unicode_is_recorded(bench: Bench) -> None:
    """A file may have any bytes as its name: Python shows lone surrogates, which no disk takes."""
    result = await bench.run("opens_odd_name")
    assert result.error == r"FileNotFoundError: [Errno 2] No such file or directory: '/\udcff.csv'"
    bench.store.ends[0].tail.encode()


async def test_commands_succeed_by_their_exit_code(bench: Bench) -> None:
    """0 is success; how much was done, a command does not say."""
    result = await bench.run(command=["true"])
    assert (result.outcome, bench.store.ends[0].items) == ("success", None)


async def test_a_command_that_is_not_there_is_an_error_at_once(bench: Bench) -> None:
    """No retry finds it."""
    result = await bench.run(command=["./nowhere.sh"], retries=2, backoff="10ms")
    place = bench.folder / "nowhere.sh"
    why = f"there is no file {place}; create it or correct the path"
    assert result.error == f"cannot start ./nowhere.sh: {why}"
    assert result.attempts == 1


async def test_a_script_whose_interpreter_has_gone_says_so(bench: Bench) -> None:
    """The kernel says `no such file` of a script that is there."""
    script = bench.folder / "bot.py"
    script.write_text("#!/opt/venv-of-last-year/bin/python\n")
    script.chmod(0o755)
    result = await bench.run(command=["./bot.py"])
    assert "bot.py is to be run by /opt/venv-of-last-year/bin/python, which is not there" in (
        result.error or ""
    )


async def test_a_folder_that_has_gone_is_named(bench: Bench) -> None:
    """Not the program, which is there."""
    result = await bench.run(command=["true"], cwd="gone")
    assert result.error == f"cannot start in {bench.folder}/gone: No such file or directory"


async def test_a_function_that_leaves_a_thread_behind_is_no_success(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bot in a thread is ended with the run: nobody may take it for running."""
    monkeypatch.setattr(supervisor, "LINGER_SECONDS", 0.2)
    result = await bench.run("starts_thread")
    assert (result.outcome, result.attempts) == ("error", 1)
    assert "returned, but its process did not end within 10s" in (result.error or "")


async def test_a_command_is_ended_with_its_children(bench: Bench) -> None:
    """The shell, and what it started, also in the background."""
    script = "trap '' TERM; setsid sleep 61 & echo $! > pid; sleep 61"
    result = await bench.run(command=["sh", "-c", script], timeout="0.5s", stop_grace="0.2s")
    assert result.outcome == "timeout"
    pid = int((bench.folder / "pid").read_text())
    await until(lambda: not is_alive(pid))


async def test_workers_do_not_see_the_sources_keys(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's own variables are theirs; those of our sources are not."""
    monkeypatch.setenv("BROKER_KEY", "b")
    monkeypatch.setenv("SOURCE_KEY", "s")
    assert (await bench.run("env")).items == 1


async def test_workers_inherit_no_descriptors(bench: Bench) -> None:
    """Standard streams, the control socket, and the listing itself."""
    with (bench.folder / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        assert (await bench.run("descriptors")).items == 5


async def test_a_second_slot_while_one_runs_is_skipped(bench: Bench) -> None:
    """A task never overlaps with itself."""
    bench.configure(run="user_code:tidies")
    first = bench.runner.submit("t", 100.0, "schedule")
    assert await bench.runner.submit("t", 200.0, "schedule") is None
    assert bench.value("quant_task_skipped_total", reason="overlap") == 1
    assert bench.store.advanced == [("t", 200.0)]
    with pytest.raises(BusyError, match="t is running already"):
        await bench.runner.start_manual("t")
    bench.runner.stop_now()
    result = await first
    assert result
    assert result.error == "stopped at shutdown"


async def test_a_slot_runs_once(bench: Bench) -> None:
    """Claimed is claimed."""
    bench.configure(run="user_code:co")
    assert await bench.runner.submit("t", 100.0, "schedule")
    assert await bench.runner.submit("t", 100.0, "catch_up") is None
    assert len(bench.store.ends) == 1


async def test_without_a_durable_claim_only_idempotent_tasks_run(bench: Bench) -> None:
    """What trades must never trade twice."""
    bench.store.durable = False
    bench.configure(run="user_code:co")
    assert await bench.runner.submit("t", 100.0, "schedule") is None
    assert bench.value("quant_task_missed_total") == 1
    bench.configure(run="user_code:co", idempotent=True)
    assert await bench.runner.submit("t", 100.0, "schedule")


async def test_a_run_that_no_disk_knows_of_can_be_asked_for(bench: Bench) -> None:
    """Whoever started it by hand waits for its outcome."""
    bench.store.durable = False
    bench.configure(run="user_code:co", idempotent=True)
    run_id = await bench.runner.start_manual("t")
    under_way = bench.runner.recall(run_id)
    assert under_way
    assert (under_way.outcome, under_way.trigger) == (None, "manual")
    await until(lambda: not bench.runner.running)
    await until(lambda: (run := bench.runner.recall(run_id)) and run.outcome == "success")
    view = TasksView(bench.runner, None, NoDisk(), bench.clock, lambda task, slot: "")  # type: ignore[arg-type]
    told = await view.find_run("t", run_id)
    assert told
    assert (told["outcome"], told["items"]) == ("success", 3)
    with pytest.raises(StateError):
        await view.find_run("t", "another")


async def test_a_run_whose_task_a_reload_removes_while_it_is_claimed_ends(bench: Bench) -> None:
    """Else its task would be busy for ever, should it come back."""
    bench.configure(run="user_code:co")
    claim = bench.store.claim

    async def slow_claim(wanted: Any) -> bool:
        bench.runner.tasks = {}
        return await claim(wanted)

    bench.store.claim = slow_claim  # type: ignore[method-assign]
    run_id = await bench.runner.start_manual("t")
    await until(lambda: not bench.runner.running)
    assert [(end.run_id, end.outcome) for end in bench.store.ends] == [(run_id, "success")]


async def test_draining_waits_and_then_ends(bench: Bench) -> None:
    """What still runs after the time is ended and recorded as what it is; nothing new starts."""
    bench.configure(run="user_code:tidies")
    job = bench.runner.submit("t", 100.0, "schedule")
    await until((bench.folder / "begun").exists, 20)
    await bench.runner.drain(0.1)
    result = await job
    assert result
    assert (result.outcome, result.error) == ("error", "stopped at shutdown")
    assert (bench.folder / "tidy").exists()
    assert await bench.runner.submit("t", 200.0, "schedule") is None
    assert bench.store.advanced == []


async def test_a_command_knows_where_to_post_and_with_which_token(bench: Bench) -> None:
    """So that it needs no address of its own for equity and fills."""
    bench.configure(command=["sh", "-c", "echo $QUANT_URL $QUANT_TOKEN_FILE > told"])
    result = await bench.runner.submit("t", 100.0, "schedule")
    assert result and result.outcome == "success"
    assert (bench.folder / "told").read_text() == "http://127.0.0.1:10077 var/token\n"


async def test_what_must_not_be_interrupted_is_waited_for(bench: Bench) -> None:
    """A command ends by itself although the time to wait is over; its variables are not ours."""
    os.environ["NOTIFY_SOCKET"] = "/nowhere"
    script = "sleep 1; echo ${NOTIFY_SOCKET:-nothing} > ended"
    bench.configure(command=["sh", "-c", script])
    try:
        job = bench.runner.submit("t", 100.0, "schedule")
        await asyncio.sleep(0.2)
        await bench.runner.drain(0)
    finally:
        del os.environ["NOTIFY_SOCKET"]
    result = await job
    assert result and result.outcome == "success"
    assert (bench.folder / "ended").read_text() == "nothing\n"


async def test_stop_now_ends_what_must_not_be_interrupted_too(bench: Bench) -> None:
    """The second signal waits for nothing."""
    bench.configure(command=["sleep", "60"])
    job = bench.runner.submit("t", 100.0, "schedule")
    await asyncio.sleep(0.2)
    draining = asyncio.create_task(bench.runner.drain(30))
    await asyncio.sleep(0.1)
    bench.runner.stop_now()
    await draining
    result = await job
    assert result and result.error == "stopped at shutdown"


async def test_a_helper_of_somebody_elses_is_used_when_a_socket_says_so(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As systemd does it: each connection gets a helper that is no child of ours."""
    address = tmp_path / "programs.sock"
    script = textwrap.dedent(f"""
        import socket, subprocess, sys
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind({str(address)!r})
        listener.listen()
        print("listens", flush=True)
        while True:
            sock, _ = listener.accept()
            fd = str(sock.fileno())
            module = [sys.executable, "-P", "-m", "exporter.runner.worker.forkserver", fd]
            subprocess.Popen(module, pass_fds=[sock.fileno()])
            sock.close()
    """)
    monkeypatch.setenv("QUANT_PROGRAMS_SOCKET", str(address))
    early = await bench.run("two")
    assert early.error and "helper" in early.error
    starter = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert starter.stdout and starter.stdout.readline() == b"listens\n"
        bench.clock.advance(1)
        assert (await bench.run("two")).outcome == "success"
        helper = bench.runner.helper_pid
        assert helper
        assert psutil.Process(helper).ppid() == starter.pid
        os.kill(helper, signal.SIGKILL)
        bench.clock.advance(1)
        assert (await bench.run("two")).outcome == "success"
        last = bench.runner.helper_pid
        await bench.runner.drain(0)
        await until(lambda: not psutil.pid_exists(last or 0) or _is_dead(last or 0))
    finally:
        starter.kill()
        starter.wait()
        starter.stdout and starter.stdout.close()


def _is_dead(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_open_runs_of_a_dead_process_are_crashed(bench: Bench) -> None:
    """Final, unless the task says otherwise."""
    bench.configure(run="user_code:co")
    now = bench.clock.now()
    bench.store.open["r1"] = Run("r1", "t", now - 10, "schedule", now - 10)
    await bench.runner.recover()
    assert [(end.run_id, end.outcome) for end in bench.store.ends] == [("r1", "crashed")]
    assert bench.value("quant_task_failures_total", reason="crashed") == 1


@pytest.mark.parametrize(("age", "outcome"), [(10, "success"), (400, "crashed")])
async def test_rerun_after_crash_holds_within_grace(bench: Bench, age: float, outcome: str) -> None:
    """The same run again, as long as its slot may still be started."""
    bench.configure(run="user_code:co", rerun_after_crash=True)
    now = bench.clock.now()
    bench.store.open["r1"] = Run("r1", "t", now - age, "schedule", now - age)
    await bench.runner.recover()
    await until(lambda: bench.store.ends)
    assert [(end.run_id, end.outcome) for end in bench.store.ends] == [("r1", outcome)]


async def test_a_run_that_cannot_be_opened_again_is_recorded_as_crashed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk refuses; the run must not stay open for ever, nor run without a claim."""

    async def refused(run_id: str) -> bool:
        raise StateError("disk full")

    bench.configure(run="user_code:co", rerun_after_crash=True)
    now = bench.clock.now()
    bench.store.open["r1"] = Run("r1", "t", now - 10, "schedule", now - 10)
    monkeypatch.setattr(bench.store, "reopen", refused)
    await bench.runner.recover()
    [end] = bench.store.ends
    assert (end.outcome, end.error) == ("crashed", "and could not be started again: disk full")
    assert bench.value("quant_task_running") == 0


async def test_an_external_task_runs_while_it_says_so(bench: Bench) -> None:
    """As any other; and nobody else can report a run of a task that we start ourselves."""
    bench.configure(external=True)
    run_id = await bench.runner.ping("t", Ping("start"))
    assert bench.value("quant_task_running") == 1
    under_way = bench.runner.recall(run_id)
    assert under_way and under_way.outcome is None
    await bench.runner.ping("t", Ping("success"))
    assert bench.value("quant_task_running") == 0
    bench.configure(run="user_code:co")
    with pytest.raises(KeyError):
        await bench.runner.ping("t", Ping("success"))


async def test_a_start_that_came_before_recovery_stays_open(bench: Bench) -> None:
    """And a run that the state held open is taken up."""
    bench.configure(external=True)
    bench.store.open["old"] = Run("old", "t", None, "manual", bench.clock.now() - 9)
    early = await bench.runner.ping("t", Ping("start", rid="11111111-2222-4333-8444-555555555555"))
    await bench.runner.recover()
    assert [bench.runner.recall(r) is not None for r in (early, "old")] == [True, True]
    assert bench.store.ends == []
    assert await bench.runner.ping("t", Ping("success")) == "old"


async def test_the_loop_turns_while_a_task_floods(bench: Bench) -> None:
    """Output by the hundred megabytes must not hold up /metrics."""
    bench.configure(run="user_code:prints_much")
    job = bench.runner.submit("t", 100.0, "schedule")
    longest = 0.0
    while not job.done():
        began = time.perf_counter()
        await asyncio.sleep(0.005)
        longest = max(longest, time.perf_counter() - began)
    result = await job
    assert result
    assert result.tail == "[200 MB of output before this are not kept]\n[…] end", (
        "cut between words: half a secret would not be known"
    )
    assert longest < 1.0


async def test_changed_code_is_used_at_the_next_run(bench: Bench) -> None:
    """Also for coroutines, which live in the daemon."""
    file = bench.folder / "changing.py"  # no other test has a module of that name
    file.write_text("async def f(): return 1\n")
    bench.configure(run="changing:f")
    first = await bench.runner.submit("t", 100.0, "schedule")
    file.write_text("async def f(): return 22\n")
    second = await bench.runner.submit("t", 200.0, "schedule")
    assert first and second
    assert (first.items, second.items) == (1, 22)
