"""A process that lives as long as it answers: code that may hang or crash runs in it, call by call.

What a call may take is a hard limit: when it is over, the process and all that it started are
killed, and the next call starts another one. The child's side is :mod:`.helper_child`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from exporter.util.process_tree import ProcessInfo, all_processes, descendants

LARGEST_ANSWER_BYTES = 32_000_000
START_SECONDS = 30.0
"""For a new process to load the code, on a busy machine too."""
_LARGE_BYTES = 100_000
"""From this size on an answer is parsed in a thread."""
_LONGEST_LINE = 500
_LINES_A_CALL = 30
_LOOKS, _LOOK_SECONDS = 50, 0.02


class CallFailedError(Exception):
    """The code raised, or cannot be loaded. `kind` is the class of the exception, `classes` that
    and its bases, `text` what it says; `reason`, `retryable` and `retry_after` are its attributes
    of these names, or None. `programming`: a mistake that another call would repeat."""

    def __init__(
        self,
        kind: str,
        text: str,
        *,
        classes: Sequence[str] = (),
        programming: bool = False,
        reason: str | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{kind}: {text}" if text else kind)
        self.kind, self.text, self.classes = kind, text, classes
        self.programming = programming
        self.reason, self.retryable, self.retry_after = reason, retryable, retry_after


class HelperDiedError(Exception):
    """The process ended instead of answering; the text says how."""


class HelperProcess:
    """Calls `target`, as ``module:Class``, with the keywords of each :meth:`call`; the instance is
    made once, with the keywords `setup`. One call at a time; `on_line` gets what it prints.

    The process starts with the first call.
    """

    def __init__(
        self,
        target: str,
        setup: Mapping[str, Any],
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
    ) -> None:
        self._order = {"target": target, "setup": setup}
        self._environment, self._on_line = environment, on_line
        self._process: asyncio.subprocess.Process | None = None
        self._printed: asyncio.Task[None] | None = None
        self._one = asyncio.Lock()
        self._calls = 0
        self._last_line, self._lines_left = "", _LINES_A_CALL

    async def call(self, arguments: Mapping[str, Any], timeout: float) -> Any:
        """What the code returned, as JSON has it. Raises :class:`CallFailedError`,
        :class:`HelperDiedError`, and :class:`TimeoutError` after `timeout` seconds; waiting for an
        earlier call does not count, nor does the start, which has :data:`START_SECONDS`."""
        async with self._one:
            self._lines_left = _LINES_A_CALL
            try:
                process = self._process or await self._start()
                self._calls += 1
                async with asyncio.timeout(timeout):
                    line = await self._ask(process, arguments)
            except BaseException:  # whatever ended it, cancellation too: nothing goes on in there
                await self.close()
                raise
            if len(line) > _LARGE_BYTES:
                answer = await asyncio.to_thread(json.loads, line)
            else:
                answer = json.loads(line)
        if "failed" in answer:
            raise CallFailedError(**answer["failed"])
        return answer["value"]

    async def _ask(
        self, process: asyncio.subprocess.Process, arguments: Mapping[str, Any]
    ) -> bytes:
        if process.stdin is None or process.stdout is None:
            raise HelperDiedError("it has no pipes")
        number = b"%d " % self._calls
        try:
            process.stdin.write(number + json.dumps(arguments).encode() + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
            while line.endswith(b"\n") and not line.startswith(number):
                line = await process.stdout.readline()  # the code wrote it, or to an earlier call
        except ValueError:
            size = LARGEST_ANSWER_BYTES // 10**6
            raise HelperDiedError(f"it returned more than {size} MB and was ended") from None
        except ConnectionError:
            line = b""
        if not line.endswith(b"\n"):
            raise HelperDiedError(await self._how_it_ended(process))
        return line[len(number) :]

    async def _start(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        self._last_line, self._calls = "", 0
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "exporter.util.helper_child", str(os.getpid()),
            stdin=pipe, stdout=pipe, stderr=pipe, env=dict(self._environment),
            start_new_session=True, limit=LARGEST_ANSWER_BYTES,
        )  # fmt: skip
        self._printed = asyncio.create_task(self._read_output(process))
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._ask(process, self._order)  # answered once the code is loaded
        except TimeoutError:
            raise HelperDiedError(
                f"its process did not start within {START_SECONDS:.0f} s"
            ) from None
        return process

    async def _how_it_ended(self, process: asyncio.subprocess.Process) -> str:
        status = await _ended(process)
        if self._printed is not None:
            await asyncio.wait({self._printed}, timeout=0.5)
        how = f"was killed by signal {-status}" if status < 0 else f"exited with {status}"
        return f"its process {how}" + (f": {self._last_line}" if self._last_line else "")

    async def _read_output(self, process: asyncio.subprocess.Process) -> None:
        if process.stderr is None:
            return
        rest = b""
        while chunk := await process.stderr.read(65_536):
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[-_LONGEST_LINE:]
            for line in lines:
                text = line[:_LONGEST_LINE].decode("utf-8", "replace").strip()
                if not text:
                    continue
                self._last_line = text
                if self._lines_left > 0:
                    self._lines_left -= 1
                    self._on_line(text)

    async def close(self) -> None:
        """End the process and all that it started. The next call starts another one."""
        process, self._process = self._process, None
        if process is None:
            return
        # What it started may have left its group; it is still below it, however often it forked.
        left = descendants(process.pid) if process.returncode is None else []
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for each in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(each.pid, signal.SIGKILL)
        await _ended(process)
        await _gone(left)
        if self._printed is not None:
            self._printed.cancel()
            await asyncio.gather(self._printed, return_exceptions=True)


async def _ended(process: asyncio.subprocess.Process) -> int:
    """Its status, once it has ended: `wait` alone would wait for whoever holds its pipes, too."""
    while process.returncode is None:  # noqa: ASYNC110  the child watcher sets it, and tells nobody
        await asyncio.sleep(0.005)
    return process.returncode


async def _gone(killed: Sequence[ProcessInfo]) -> None:
    """Until they have ended, a second at most: a kill is not done when it is sent."""
    wanted = {(each.pid, each.started) for each in killed}
    for _ in range(_LOOKS if wanted else 0):
        if not wanted & {(each.pid, each.started) for each in all_processes()}:
            return
        await asyncio.sleep(_LOOK_SECONDS)
