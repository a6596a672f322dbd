"""A runner with real worker processes, a state in memory and a clock that tests move."""

from __future__ import annotations

import asyncio
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry

from exporter.config import Config, Task
from exporter.metrics import Metrics
from exporter.runner.runner import Runner
from exporter.sources.base import Answer, Bar, SourceError
from exporter.state import Run, StateError
from tests.unit.clocks import ManualClock
from tests.unit.stores import MemoryStore

CODE = """
import os, signal, sys, time, logging
from exporter.tasks import NoData, StaleData, Permanent

def two(): return ["a", "b"]
def nothing(): print("said")
def half_secret(): raise ValueError("x" * 484 + "hunter2")
def half_secret_in_trace(): raise ValueError("hunter2 " + "y " * 1997)
def returns_secret(): return "z" * 75 + "hunter2"
def seven(context): return context.params["n"]
def raises(): raise ValueError("broken\\nbadly")
def opens_odd_name(): open(os.fsdecode(b"/\\xff.csv"))
def no_data(): raise NoData("nothing for NVDA.US")
def stale(): raise StaleData("NVDA.US is of yesterday")
def permanent(): raise Permanent("no such account")
def typo(): return undefined_name
def nonsense(): return "ok"
def yes(): return True
def no(): return False
def minus(): return -1
def unpicklable(): return (n for n in range(3))
def bad_size():
    class Sized(list):
        def __len__(self): raise RuntimeError("no size")
    return Sized()
def exits(): sys.exit(0)
def exits_none(): sys.exit()
def exits_3():
    print("no broker: connection refused"); print("bye"); sys.exit(3)
def exits_text(): sys.exit("no account")
def argparse_main():
    import argparse
    parser = argparse.ArgumentParser()
    parser.add_argument("--live", action="store_true")
    sys.exit(int(parser.parse_args().live))
def argv(): return [1] if sys.argv == [__file__] else sys.argv
def exits_hard(): os._exit(0)
def segfaults():
    import ctypes
    ctypes.string_at(0)
def starts_thread():
    import threading
    threading.Thread(target=time.sleep, args=(60,)).start()
    return 1
def hangs():
    while True:
        try: time.sleep(60)
        except BaseException: pass
def tidies():
    open("begun", "w").close()
    try: time.sleep(60)
    finally: open("tidy", "w").write("done")
def prints_much():
    for _ in range(200): os.write(1, b"x" * 1_000_000)
    print("the end"); return 1
def logs_much():
    for n in range(50_000): logging.getLogger("loud").info("line %d", n)
    return 1
def closes_stdout():
    sys.stdout.close(); os.close(1); os.close(2); return 1
def closes_all():
    os.closerange(0, 256); return 1
def forks():
    os.fork(); return os.getpid() and 1
def leaves_child():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open("stray", "w").write(str(os.getpid())); time.sleep(60)
        os._exit(0)
    while not os.path.exists("stray") or not open("stray").read(): time.sleep(0.01)
    return 1
def fails_once(context):
    if context.attempt == 1: raise OSError("connection reset")
    return context.attempt
def eats():
    kept = b"x" * 250_000_000
    time.sleep(60)
def shares_100_mb():
    table, pids = b"x" * 100_000_000, []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            table[99_999_999]; time.sleep(1); os._exit(0)
        pids.append(pid)
    return [os.waitpid(pid, 0) for pid in pids]
def env(): return [n for n in os.environ if n in ("BROKER_KEY", "SOURCE_KEY")]
def descriptors():  # libffi keeps its own library open
    found = [os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")]
    return [path for path in found if ".so." not in path]
def bars(context):
    found = context.latest(["NVDA.US"], "1d")
    assert found["NVDA.US"][0].close == 2.5
    return found["NVDA.US"]
def bad_symbol(context): context.latest(["NOPE.US"], "1d")
def catches(context):
    from exporter.sources import SourceError
    try:
        context.latest(["NOPE.US"], "1d")
    except SourceError as error:
        return len(error.reason)
def logs(context):
    context.log.warning("hello %s", "there", extra={"event": "greeting"})

async def co(): return 3
async def co_yields(): yield 3
async def co_rate_limited(context):
    from exporter.tasks import SourceError
    if context.attempt == 1:
        raise SourceError("rate_limited", "too many requests", retryable=True, retry_after=0.5)
async def co_raises(): raise KeyError("x")
async def co_exits(): sys.exit(3)
async def co_argv(): return [1] if sys.argv == [__file__] else sys.argv
async def co_cancels_itself():
    import asyncio
    asyncio.current_task().cancel()
    await asyncio.sleep(1)
async def co_raises_cancelled():
    import asyncio
    raise asyncio.CancelledError
async def co_awaits_a_cancelled_task():
    import asyncio
    inner = asyncio.ensure_future(asyncio.sleep(1))
    inner.cancel()
    await inner
async def co_hangs():
    import asyncio
    await asyncio.sleep(60)
async def co_blocks(): time.sleep(0.4)
async def co_never_lets_go():
    while True:
        try: time.sleep(60)
        except Exception: pass
async def co_burns():
    import asyncio
    await asyncio.sleep(0)
    while True: pass
async def co_prints(number):
    import asyncio
    print("one of", number.params["n"])
    await asyncio.sleep(0.1)
    await asyncio.to_thread(print, "in a thread", file=sys.stderr)
async def co_bars(context): return await context.latest(["NVDA.US"], "1d")
"""


class FakeSource:
    async def latest(self, symbols: list[str], interval: str) -> Answer[list[Bar]]:
        if symbols == ["NOPE.US"]:
            return Answer(bad={"NOPE.US": SourceError("api", "2002 no such symbol")})
        return Answer(good={s: [Bar(s, 0.0, 1.0, 3.0, 1.0, 2.5, 10.0)] for s in symbols})


class NoDisk:
    """A state that cannot be read."""

    @property
    def history(self) -> NoDisk:
        return self

    async def run(self, run_id: str) -> Run | None:
        raise StateError("the disk does not answer")


class Bench:
    """A runner with real worker processes and a state in memory."""

    def __init__(self, folder: Path, store: MemoryStore | None = None) -> None:
        (folder / "user_code.py").write_text(textwrap.dedent(CODE))
        self.folder = folder
        self.store = store or MemoryStore()
        self.clock = ManualClock()
        self.registry = CollectorRegistry()
        self.own: dict[tuple[str, tuple[tuple[str, Any], ...]], Any] = {}
        """The user's metrics, by name and labels."""
        self.services = SimpleNamespace(
            source=lambda _: FakeSource(), parts=None, calendar=None, exchanges=lambda _: {},
            set_metric=self._set_metric,
        )  # fmt: skip
        self.runner = Runner(
            self.store,
            Metrics(self.registry),
            self.clock,
            self.services,
            folder=folder,
            mask=lambda text: text.replace("hunter2", "***"),
        )

    def _set_metric(self, name: str, value: Any, labels: Any, *, add: bool) -> None:
        assert not add
        self.own[name, tuple(sorted(labels.items()))] = value

    def configure(self, **more: Any) -> None:
        task = {"schedule": "every 1h", "timeout": "20s", **more}
        config = Config(
            code=(Path(),),
            sources={"s": {"type": "tickdb", "url": "http://x", "api_key_env": "SOURCE_KEY"}},
        )
        self.config = config.model_copy(update={"tasks": {"t": Task.model_validate(task)}})
        self.runner.apply(self.config)

    def started_again(self) -> Bench:
        """The exporter after a restart, with the same state and the task of before."""
        again = Bench(self.folder, self.store)
        again.clock.set(self.clock.now())
        again.config = self.config
        again.runner.apply(again.config)
        return again

    async def run(self, name: str | None = None, **more: Any) -> Run:
        how = {"run": f"user_code:{name}"} if name else {}
        self.configure(**how, **more)
        result = await self.runner.submit("t", self.clock.now(), "schedule")
        assert result
        return result

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"task": "t", **labels})


async def until(holds: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to pass"
        await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
