"""Coroutine tasks: finding the function in the user's folders, and driving it on the loop."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

from exporter.runner.loop_guard import BlockedLoopError, watch
from exporter.tasks.base_context import takes_context
from exporter.tasks.context import Context
from exporter.tasks.outcome import Outcome, of_exception, of_return, trace

log = logging.getLogger(__name__)

HELD_SECONDS = 0.25
"""A coroutine that keeps the loop longer than this in one step is named in the log."""


class Loader:
    """Imports the user's modules, and imports them again when one of their files changed."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int]] = {}
        self._found: tuple[object, dict[str, str]] | None = None
        self._lock = threading.Lock()

    def load(self, target: str, code: tuple[Path, ...]) -> Callable[..., Awaitable[object]]:
        """The function. Call it in a thread: importing may take long. Raises what that raises."""
        module, _, name = target.partition(":")
        with self._lock:
            folders = [str(folder) for folder in code]
            for folder in reversed(folders):
                if folder not in sys.path:
                    sys.path.insert(0, folder)
            self._forget_changed(folders)
            function: Callable[..., Awaitable[object]] = getattr(
                importlib.import_module(module), name
            )
            self._note(folders)
        return function

    def _note(self, folders: list[str]) -> None:
        for file in self._files(folders).values():
            if file not in self._seen and (mark := _mark(file)):
                self._seen[file] = mark

    def _forget_changed(self, folders: list[str]) -> None:
        files = self._files(folders)
        if any(self._seen.get(file, _mark(file)) != _mark(file) for file in files.values()):
            # One module of theirs may hold on to another: all of them are read again.
            for name, file in files.items():
                del sys.modules[name]
                self._seen.pop(file, None)
            importlib.invalidate_caches()
            self._found = None

    def _files(self, folders: list[str]) -> dict[str, str]:
        # Every run comes here: thousands of modules are gone through when there are new ones.
        known = (len(sys.modules), tuple(folders))
        if self._found and self._found[0] == known:
            return self._found[1]
        found: dict[str, str] = {}
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            # The folder may hold our own package, or the environment with all its libraries.
            if name.partition(".")[0] == "exporter" or "site-packages" in str(file):
                continue
            if isinstance(file, str) and any(file.startswith(f"{each}/") for each in folders):
                found[name] = file
        self._found = (known, found)
        return found


def _mark(file: str) -> tuple[int, int] | None:
    try:
        stat = Path(file).stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


class _Timed:
    """Awaits another awaitable, says how long each of its steps kept the loop, and ends one that
    keeps it beyond `limit` seconds from now."""

    def __init__(
        self, inner: Awaitable[object], held: Callable[[float], None], limit: float
    ) -> None:
        self._inner, self._held = inner, held
        self._ends = time.perf_counter() + limit

    def __await__(self) -> Generator[Any, Any, object]:
        steps = self._inner.__await__()
        send: Callable[[], Any] = lambda: next(steps)  # noqa: E731  replaced at each step
        while True:
            began = time.perf_counter()
            watch.begin(max(self._ends - began, HELD_SECONDS))
            try:
                waits_for = send()
            except StopIteration as end:
                return end.value
            finally:
                watch.end()
                held = time.perf_counter() - began
                if held > HELD_SECONDS:
                    self._held(held)
            try:
                yield waits_for
            except BaseException as error:  # noqa: BLE001  handed on: a cancellation above all
                send = _thrower(steps, error)
            else:
                send = lambda: next(steps)  # noqa: E731


def _thrower(steps: Generator[Any, Any, Any], error: BaseException) -> Callable[[], Any]:
    return lambda: steps.throw(error)


async def call(
    function: Callable[..., Awaitable[object]], context: Context, limit_seconds: float
) -> Outcome:
    """Run the coroutine function to its end; a step that keeps the loop is ended at the limit, or
    before. Raises nothing but its own cancellation."""

    def held(seconds: float) -> None:
        log.warning(
            "this coroutine blocked the event loop for %.1f s, and everything else waited; "
            "make it a plain function, which runs in a process of its own",
            seconds,
            extra={"event": "run_held_loop", "duration_seconds": round(seconds, 3)},
        )

    watch.start()
    began = time.perf_counter()
    try:
        # Nothing in the exporter reads them once it runs, and a task must not see ours.
        sys.argv[:] = [getattr(inspect.getmodule(function), "__file__", None) or sys.argv[0]]
        made = function(context) if takes_context(function) else function()
        if not inspect.isawaitable(made):  # a generator: nothing in it has run
            return of_return(made)
        return of_return(await _Timed(made, held, limit_seconds))
    except BlockedLoopError as error:
        took = time.perf_counter() - began
        late = took >= limit_seconds
        return Outcome(
            "timeout" if late else "error",
            f"was ended after {took:.0f} s, because it blocked the event loop and "
            "everything else waited; make it a plain function, which runs in a process of its own",
            retryable=late,
            tail=trace(error),
        )
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task and task.cancelling():
            raise
        return Outcome("error", "the coroutine cancelled itself", retryable=True)
    except BaseException as error:  # noqa: BLE001  sys.exit() in a task must not end the exporter
        return of_exception(error)
