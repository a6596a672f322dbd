"""One attempt in a process, seen from the loop: limits, its output's tail, its log, its calls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from exporter.runner.output_tail import OutputTail
from exporter.runner.said_lines import Said, SaidLines
from exporter.runner.worker.forkserver_client import GuardOrder, Process, Workers
from exporter.runner.worker.guardian import KILL_SECONDS, SETTLE_SECONDS
from exporter.runner.worker.log_relay import replay
from exporter.runner.worker.usage import WATCHED
from exporter.tasks.outcome import Outcome, from_json

log = logging.getLogger(__name__)

HURRIED_GRACE_SECONDS = 5.0
"""The most that is waited between SIGTERM and SIGKILL when nobody wants to wait any longer."""
LINGER_SECONDS = 10.0
"""How long a process may live on after its function returned."""
_LINE_BYTES = 2 << 20
_DRAIN_SECONDS = 1.0
_GUARDIAN_SECONDS = SETTLE_SECONDS + KILL_SECONDS + 10.0
"""Beyond the grace: how long a guardian may take to report that its attempt is over."""
_LINES_AT_ONCE = 20
_OUTPUT_BYTES_PER_SECOND = 64 << 20

How = Literal["itself", "timeout", "stopped", "limit", "lingered"]
"""What ended an attempt; "lingered": its function had returned, but its process lived on."""
Answer = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class ProcessEnd:
    """How the process ended, and what it reported before."""

    how: How
    status: int | None
    report: Outcome | None
    tail: str
    left: Sequence[str] = ()
    """Processes that it had left behind, in words."""
    left_was_ended: bool = True
    alive: Sequence[str] = ()
    """Processes that could not be ended, in words."""
    exceeded: tuple[str, float] | None = None
    """With `how` "limit": which one, and what it used."""
    said: Said | None = None
    """What it reported in JSON lines; None if `json_output` is off."""
    memory_kill: float | None = None
    """The kernel killed a process for memory: what all in its cgroup may use, or 0.0."""


@dataclass(frozen=True)
class Patience:
    """How long an attempt may take, and what becomes of it then."""

    limit: float
    grace: float
    """Seconds from SIGTERM to SIGKILL."""
    may_leave: bool
    """Whether what it leaves behind is left in peace."""
    stop: asyncio.Event
    """Set: the attempt is ended."""
    hurry: asyncio.Event
    """Set: without much grace."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """What it may use: ``cpu`` (seconds), ``memory`` and ``output`` (bytes), ``processes``."""


class _Output(asyncio.Protocol):
    """Keeps the tail. Reading pauses when a flood would cost the loop too much."""

    def __init__(self, limit: float, lines: SaidLines | None) -> None:
        self.tail = OutputTail()
        self._lines = lines
        self.bytes = 0
        self.too_much = asyncio.Event()
        """More than the limit came; what still comes is dropped."""
        self._limit = limit
        self.closed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._second = 0
        self._read = 0
        self._transport: asyncio.ReadTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.ReadTransport)  # noqa: S101  a read pipe
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.bytes += len(data)
        if not self.too_much.is_set():
            self.tail.add(data)
            if self._lines:
                self._lines.add(data)
        if self.bytes > self._limit:
            self.too_much.set()
        second = int(self._loop.time())
        self._read = len(data) + (self._read if second == self._second else 0)
        self._second = second
        if self._read > _OUTPUT_BYTES_PER_SECOND and self._transport:
            self._transport.pause_reading()
            self._loop.call_later(0.2, self._resume, self._transport)

    @staticmethod
    def _resume(transport: asyncio.ReadTransport) -> None:
        if not transport.is_closing():
            transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()


class _Conversation:
    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answer: Answer,
        on_lost: Callable[[int], None],
    ):
        self._reader, self._writer = reader, writer
        self._answer, self._on_lost = answer, on_lost
        self.lost = 0
        self.report: Outcome | None = None
        self.reported = asyncio.Event()

    async def listen(self) -> None:
        """Until the other side is closed, or sends nonsense."""
        handled = 0
        try:
            while line := await self._reader.readline():
                await self._handle(json.loads(line))
                handled += 1
                if handled % _LINES_AT_ONCE == 0:
                    await asyncio.sleep(0)  # buffered lines come back at once: let others run
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning(
                "a message of the worker process cannot be read: %s",
                error,
                extra={"event": "worker_nonsense"},
            )

    async def _handle(self, message: dict[str, Any]) -> None:
        match message["t"]:
            case "log":
                replay(message)
            case "lost":
                self.lost += int(message["count"])
                self._on_lost(int(message["count"]))
            case "call":
                answer = await self._answer(message["method"], message["arguments"])
                # A long history takes a while to write: not on the loop.
                data = await asyncio.to_thread(json.dumps, answer)
                self._writer.write(data.encode() + b"\n")
                await self._writer.drain()
            case "end":
                self.report = from_json(message)
                self.reported.set()


async def run_process(
    workers: Workers,
    job: dict[str, Any],
    patience: Patience,
    *,
    answer: Answer,
    on_lost: Callable[[int], None],
    on_began: Callable[[Process], None],
    on_left: Callable[[Process], None],
    lines: SaidLines | None = None,
) -> ProcessEnd:
    """Run one job in a process and wait until it is over.

    `on_lost` is called with the number of log records that were dropped because it logged too much
    too fast; `on_began` with the process that runs it, and `on_left` with the same when something
    of it lives on, because it may or because it cannot be ended. `lines` reads what it says in its
    output.
    Raises :class:`~.forkserver_client.WorkerError` when no process could be started.
    """
    process, ours, read_end = await _spawn(workers, patience)
    process.task = str(job["about"].get("task", ""))
    on_began(process)
    reader, writer = await asyncio.open_connection(sock=ours, limit=_LINE_BYTES)
    pipe, output = await asyncio.get_running_loop().connect_read_pipe(
        lambda: _Output(patience.limits.get("output", math.inf), lines),
        os.fdopen(read_end, "rb", 0),
    )
    talk = _Conversation(reader, writer, answer, on_lost)
    listening = asyncio.create_task(talk.listen())
    try:
        writer.write(json.dumps(job).encode() + b"\n")
        how = await _watch(process, talk, output, patience)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await listening
                await output.closed.wait()
    except BaseException:
        process.close()
        raise
    finally:
        listening.cancel()
        writer.close()
        if process.gone.is_set() or not process.over.is_set():
            pipe.close()
        else:  # its output is read on: a full pipe would stop it, a closed one end it
            process.when_gone.append(pipe.close)
        if talk.lost:
            log.warning(
                "%d log records of this run were dropped: it logged too much too fast",
                talk.lost,
                extra={"event": "run_log_flood", "count": talk.lost},
            )
    if not process.gone.is_set():
        on_left(process)
    if process.exceeded or output.too_much.is_set():
        how = "limit"
    return ProcessEnd(
        how, process.status, talk.report, output.tail.text(), process.left,
        not patience.may_leave, process.alive,
        process.exceeded or ("output", float(output.bytes)), _said(lines), process.memory_kill,
    )  # fmt: skip


async def _spawn(workers: Workers, patience: Patience) -> tuple[Process, socket.socket, int]:
    """A process, our end of the conversation with it, and the end of its output that we read."""
    watched = {what: most for what, most in patience.limits.items() if what in WATCHED}
    ours, theirs = socket.socketpair()
    read_end, write_end = os.pipe()
    try:
        process = await workers.spawn(
            theirs.fileno(), write_end, read_end,
            GuardOrder(patience.grace, patience.may_leave, watched),
        )  # fmt: skip
    except BaseException:
        ours.close()
        os.close(read_end)
        raise
    finally:
        theirs.close()
        os.close(write_end)
    return process, ours, read_end


def _said(lines: SaidLines | None) -> Said | None:
    if lines is None:
        return None
    lines.close()
    if lines.said.bad_lines:
        log.warning(
            "%d JSON line%s of its output cannot be used; the first: %s",
            lines.said.bad_lines,
            "" if lines.said.bad_lines == 1 else "s",
            lines.said.problem,
            extra={"event": "json_lines_bad", "count": lines.said.bad_lines},
        )
    if lines.said.passed_over:
        log.warning(
            "%d JSON lines of its output were not read, because newer ones came too fast",
            lines.said.passed_over,
            extra={"event": "json_lines_passed_over", "count": lines.said.passed_over},
        )
    return lines.said


async def _watch(process: Process, talk: _Conversation, output: _Output, patience: Patience) -> How:
    """Wait until it is over, ending it when its time is up or it printed too much."""
    how: How = "itself"
    exited, over, stopping, reported, hurried, flooded = (
        asyncio.create_task(event.wait())
        for event in (
            process.exited, process.over, patience.stop, talk.reported, patience.hurry,
            output.too_much,
        )
    )  # fmt: skip
    try:
        await asyncio.wait(
            {exited, stopping, reported, flooded},
            timeout=patience.limit,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if reported.done():
            await asyncio.wait({exited}, timeout=LINGER_SECONDS)
            if not exited.done():
                how = "lingered"
        elif not exited.done():
            how = "limit" if flooded.done() else "stopped" if stopping.done() else "timeout"
        if not exited.done():
            process.end(patience.grace)
        ends = asyncio.get_running_loop().time() + patience.grace + _GUARDIAN_SECONDS
        await asyncio.wait(
            {over, hurried}, timeout=patience.grace + _GUARDIAN_SECONDS,
            return_when=asyncio.FIRST_COMPLETED,
        )  # fmt: skip
        if not over.done() and hurried.done():
            process.end(min(patience.grace, HURRIED_GRACE_SECONDS))
            left = ends - asyncio.get_running_loop().time()
            await asyncio.wait({over}, timeout=max(left, 0.0))
        if not over.done():
            # Neither dead nor answering: hung in the kernel, or stopped by somebody.
            process.alive = [f"process {process.started.result()} (its guardian does not answer)"]
            process.over.set()
    finally:
        for waiting in (exited, over, stopping, reported, hurried, flooded):
            waiting.cancel()
    return how
