"""Units in real processes: whatever one of them does, the others have their results."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from exporter.backtests.local_executor import LocalExecutor
from exporter.backtests.unit import ParameterTrial, UnitGroup, UnitResult
from tests.unit.backtests.bars import group, random_bars

HOSTILE = {
    "raises": "raise RuntimeError('broken')",
    "exits": "import os; os._exit(3)",
    "segfaults": "import ctypes; ctypes.string_at(0)",
    "loops": "\n        while True: pass",
    "eats_memory": "return [0] * 10**9",
    "eats_by_forks": (
        "import os, time\n"
        "        for _ in range(4):\n"
        "            if os.fork() == 0:\n"
        "                b = bytearray(80_000_000); time.sleep(60)\n"
        "        time.sleep(60)"
    ),
    "forks": "import os; os.fork()",
    "prints": "import os; [os.write(1, b'x' * 10**6) for _ in range(200)]; print('x' * 10**6)",
    "patches": "import numpy; numpy.asarray = None; return bars.close * 0",
    "speaks": (
        "import os\n"
        "        for fd in range(3, 20):\n"
        "            try: os.write(fd, b'nonsense' * 10 + b'\\n')\n"
        "            except OSError: pass"
    ),
    "leaves": "import subprocess; subprocess.Popen(['sleep', '987'])",
}
CODE = (
    "def f(bars, what=''):\n"
    "    if what == 'nothing':\n        return bars.close * 0\n"
    + "".join(f"    if what == '{name}':\n        {body}\n" for name, body in HOSTILE.items())
    + "    return bars.close * 0\n"
)
FAILS = {
    "raises": "RuntimeError: broken",
    "exits": "its process ended with exit status 3",
    "segfaults": "its process was killed by SIGSEGV",
    "loops": "took longer than 2.5s",
    "eats_memory": "MemoryError: used more memory than",
    "eats_by_forks": "used more than 200 MB of memory",
    "patches": "TypeError",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, UnitResult]:
    """One group with a harmless unit before, between and after the hostile ones."""
    folder = tmp_path_factory.mktemp("hostile")
    sets = [{"what": "nothing"}]
    for name in HOSTILE:
        sets += [{"what": name}, {"what": "nothing"}]
    work = group(folder, CODE, random_bars(100), *sets, name="hostile")
    trials = [replace(trial, configured=False) for trial in work.trials]
    found: dict[int, UnitResult] = {}

    def keep(result: UnitResult) -> None:
        assert result.number not in found
        found[result.number] = result

    executor = LocalExecutor(2, timeout=2.5, memory=200_000_000)
    executor.run(halves(replace(work, trials=trials)), keep)
    assert sorted(found) == list(range(len(sets)))
    named = {str(one["what"]): found[n] for n, one in enumerate(sets) if one["what"] in HOSTILE}
    harmless = [found[n] for n, one in enumerate(sets) if one["what"] == "nothing"]
    return {**named, **{f"harmless {n}": one for n, one in enumerate(harmless)}}


def halves(work: UnitGroup) -> Iterator[UnitGroup]:
    middle = len(work.trials) // 2
    yield replace(work, trials=work.trials[:middle])
    yield replace(work, trials=work.trials[middle:])


@pytest.mark.parametrize("name", FAILS)
def test_a_hostile_unit_fails_in_words(results: dict[str, UnitResult], name: str) -> None:
    """By itself; what ended its process is named."""
    assert (results[name].error or "").startswith(FAILS[name])


@pytest.mark.parametrize("name", ["forks", "prints", "leaves"])
def test_what_does_no_harm_is_no_failure(results: dict[str, UnitResult], name: str) -> None:
    """Output goes nowhere, and a fork that comes back reports nothing."""
    assert results[name].error is None


def test_no_other_unit_is_lost(results: dict[str, UnitResult]) -> None:
    """Not even those that come after one that broke numpy in their process."""
    failed = [one for name, one in results.items() if name.startswith("harmless") and one.error]
    assert failed == []


def test_nothing_is_left_behind(results: dict[str, UnitResult]) -> None:
    """Neither the processes of units nor what they started."""
    assert results
    until = time.monotonic() + 3
    while time.monotonic() < until and left():
        time.sleep(0.02)
    assert left() == []


def left() -> list[str]:
    lines = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
    return [line for line in lines if "sleep 987" in line]


def test_a_run_without_units_starts_nothing() -> None:
    """Everything is known: no process is needed."""
    executor = LocalExecutor(2, timeout=1, memory=10**9)
    began = time.monotonic()
    executor.run(iter(()), lambda result: None)
    assert time.monotonic() - began < 0.1


def test_an_interrupt_ends_all_processes(tmp_path: Path) -> None:
    """As Ctrl-C does: the loop is left by an exception, and nothing goes on computing."""
    code = "import time\ndef f(bars, n):\n    time.sleep(30 * n)\n    return bars.close * 0\n"
    work = group(tmp_path, code, random_bars(10), {"n": 0}, {"n": 1}, name="waits")
    work = replace(
        work, trials=[ParameterTrial(0, {"n": 0}, False), ParameterTrial(1, {"n": 1}, False)]
    )
    executor = LocalExecutor(1, timeout=60, memory=10**9)

    def interrupt(result: UnitResult) -> None:
        raise KeyboardInterrupt

    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(KeyboardInterrupt):
        executor.run(iter([work]), interrupt)
    new = set(psutil.Process().children(recursive=True)) - before
    assert [p for p in new if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
