"""What an attempt may use, and what it says of itself: real processes that use more."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from tests.runner_bench import Bench, is_alive, until

pytestmark = pytest.mark.integration

EATS = "import time; kept = b'x' * 90_000_000; time.sleep(60)"
SPINS = "while True: pass"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.runner.drain(0)


@pytest.mark.parametrize(
    ("command", "limits", "error"),
    [
        ([sys.executable, "-c", EATS], {"memory": "60MB"}, "used more than 60 MB of memory ("),
        (
            ["sh", "-c", f'{sys.executable} -c "{EATS}" & wait'],
            {"memory": "60MB"},
            "used more than 60 MB of memory (",
        ),
        ([sys.executable, "-c", SPINS], {"cpu": "400ms"}, "used more than 0.4s of CPU time"),
        (
            ["sh", "-c", f'for n in 1 2 3; do {sys.executable} -c "{SPINS}" & done; wait'],
            {"cpu": "600ms"},
            "used more than 0.6s of CPU time",
        ),
        (
            ["sh", "-c", "for n in 1 2 3 4 5 6 7 8; do sleep 60 & done; wait"],
            {"processes": 4},
            "ran more than 4 processes at once (9)",
        ),
        (["sh", "-c", "yes; sleep 60"], {"output": "2MB"}, "printed more than 2 MB; the rest"),
    ],
    ids=["memory", "memory below a shell", "cpu", "cpu of several", "processes", "output"],
)
async def test_what_uses_more_than_it_may_is_ended_and_says_so(
    bench: Bench, command: list[str], limits: dict[str, object], error: str
) -> None:
    """With all that it started, long before its timeout, and it is not tried again."""
    began = time.monotonic()
    result = await bench.run(command=command, limits=limits, retries=3, stop_grace="1s")
    assert (result.outcome, result.attempts) == ("error", 1), result
    assert str(result.error).startswith(f"killed: {error}"), result.error
    assert time.monotonic() - began < 20
    await until(lambda: bench.value("quant_task_left_processes") == 0)


async def test_a_function_has_limits_too(bench: Bench) -> None:
    """It runs in a process; a coroutine, which does not, is refused."""
    result = await bench.run("eats", limits={"memory": "150MB"})
    assert str(result.error).startswith("killed: used more than 150 MB of memory"), result
    bench.clock.advance(60)
    result = await bench.run("co", limits={"memory": "150MB"})
    assert str(result.error).startswith("limits: a coroutine runs in the exporter's own process")


async def test_memory_that_processes_share_counts_once(bench: Bench) -> None:
    """A table that four workers read is there once, although each has it resident."""
    result = await bench.run("shares_100_mb", limits={"memory": "300MB"})
    assert (result.outcome, result.items) == ("success", 4), result.error


async def test_what_stays_within_its_limits_notices_nothing(bench: Bench) -> None:
    """All of them set, none exceeded; the number of open files is the kernel's."""
    limits = {"memory": "500MB", "cpu": "1m", "processes": 50, "output": "1MB", "open_files": 99}
    result = await bench.run(command=["sh", "-c", "ulimit -n; sleep 0.5"], limits=limits)
    assert (result.outcome, result.tail) == ("success", "99")


async def test_what_ignores_sigterm_at_its_limit_is_killed(bench: Bench) -> None:
    """The stop_grace of the task counts for limits, too."""
    command = ["sh", "-c", "trap '' TERM; while :; do :; done"]
    result = await bench.run(command=command, limits={"cpu": "200ms"}, stop_grace="200ms")
    assert result.error == "killed: used more than 0.2s of CPU time"


async def test_a_command_says_its_items_and_a_message(bench: Bench) -> None:
    """In JSON lines, and only where the task asks for them; bad ones are said in the log."""
    text = '{"quant": {"items": 3, "message": "3 orders sent"}}'
    command = ["sh", "-c", f"echo start; echo '{text}'"]
    result = await bench.run(command=command)
    assert (result.items, result.message) == (None, None)
    bench.clock.advance(60)
    result = await bench.run(command=command, json_output=True)
    assert (result.outcome, result.items, result.message) == ("success", 3, "3 orders sent")
    assert result.tail == f"start\n{text}"


async def test_the_message_of_a_command_that_fails_is_its_reason(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Rather than the line of its output that looks most like one."""
    text = '{"quant": {"message": "broker: not logged in"}}'
    line = f"echo 'Error: 17'; echo '{text}'; echo '{{\"quant\": 3}}'"
    result = await bench.run(command=["sh", "-c", f"{line}; exit 4"], json_output=True)
    assert result.error == "exit code 4: broker: not logged in"
    assert "1 JSON line of its output cannot be used; the first: write" in caplog.text
    bench.clock.advance(60)
    command = ["sh", "-c", f"{line}; sleep 60"]
    result = await bench.run(command=command, json_output=True, timeout="500ms", stop_grace="0s")
    assert result.error == "did not end within 0.5s; it last said: broker: not logged in"


async def test_a_bounded_fork_bomb_is_ended(bench: Bench) -> None:
    """Every process of it, also those that left their session; other tasks go on."""
    bomb = (
        "import os, time\n"
        "def fork(depth):\n"
        "    for _ in range(2):\n"
        "        if depth and os.fork() == 0:\n"
        "            if depth == 3: os.setsid()\n"
        "            open(f'pids/{os.getpid()}', 'w').close(); fork(depth - 1); time.sleep(60)\n"
        "            os._exit(0)\n"
        "os.mkdir('pids'); fork(6); time.sleep(60)\n"
    )
    (bench.folder / "bomb.py").write_text(bomb)
    result = await bench.run(command=[sys.executable, "bomb.py"], limits={"processes": 30})
    assert "ran more than 30 processes at once" in str(result.error)
    pids = [int(path.name) for path in (bench.folder / "pids").iterdir()]
    assert len(pids) > 25
    async with asyncio.timeout(5):
        while any(is_alive(pid) for pid in pids):
            await asyncio.sleep(0.05)


async def test_metrics_of_a_command_reach_the_service_of_own_metrics(bench: Bench) -> None:
    """While it runs, with and without labels; what is not understood is said with its line."""
    lines = (
        '{"quant": {"metrics": {"positions": 3}}}',
        '{"quant": {"metrics": {"spread": [{"value": 0.1, "labels": {"symbol": "A"}}]}}}',
        '{"quant": {"items": 1, "metrics": {"positions": 4}}}',
    )
    result = await bench.run(command=["printf", "%s\\n", *lines], json_output=True)
    assert (result.outcome, result.items) == ("success", 1)
    assert bench.own == {("positions", ()): 4, ("spread", (("symbol", "A"),)): 0.1}


@pytest.mark.parametrize(
    ("command", "tail"),
    [
        ("exec >&- 2>&-; sleep 0.1", ""),
        (r"printf 'a\377b\n'; printf '{\"quant\": {\"message\": \"\377\"}}\n'", "a�b"),
    ],
    ids=["closed stdout", "invalid UTF-8"],
)
async def test_odd_output_does_not_fail_a_run(bench: Bench, command: str, tail: str) -> None:
    """It is the exit code that counts."""
    result = await bench.run(command=["sh", "-c", command], json_output=True)
    assert (result.outcome, result.message) == ("success", None), result
    assert str(result.tail or "").startswith(tail)


@pytest.mark.soak
async def test_a_gigabyte_of_output_takes_no_memory(bench: Bench) -> None:
    """Neither as lines, nor as one, nor with lines of JSON in it."""
    before = psutil.Process().memory_info().rss
    for source in ('yes \'{"quant": {"items": 1}}\'', "yes", "cat /dev/zero"):
        bench.clock.advance(60)
        command = ["sh", "-c", f"{source} | head -c 1000000000"]
        result = await bench.run(command=command, json_output=True, timeout="2m")
        assert result.outcome == "success", result.error
        assert result.items == (1 if "quant" in source else None)
        assert psutil.Process().memory_info().rss - before < 60_000_000
