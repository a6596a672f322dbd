"""Log files of other programs, counted line by line as they grow.

``logs.follow`` names each file with patterns; a line that a pattern is found in counts once for it.
A file that is new in the config is read from its present end; after a restart reading goes on where
it stopped, also in a file rotated since.

What was read is counted once its position is stored: after a kill nothing is counted twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from exporter.config import Followed
from exporter.logs.tail import rotation
from exporter.logs.tail.json_lines import json_as_text
from exporter.logs.tail.line_patterns import matching_lines, searchable
from exporter.logs.tail.position import TailPosition
from exporter.logs.tail.tail import Tail
from exporter.metrics import Metrics, Sample
from exporter.util.linear_regex import compile_linear

POLL_SECONDS = 1.0
KEEP_SECONDS = 5.0
STEP_BYTES = 32_000_000
"""Read from one file before the others are read."""
KIND = "follower"
"""Under which the positions are kept."""

log = logging.getLogger(__name__)


class PositionStore(Protocol):
    """The part of :class:`exporter.state.State` that is needed."""

    def kept(self, kind: str) -> Mapping[str, object]: ...
    async def keep_many(self, values: Iterable[tuple[str, str, dict[str, object]]]) -> None: ...
    async def forget(self, kind: str, name: str) -> None: ...


@dataclass
class Counted:
    """What was found in a file, up to a position."""

    lines: int = 0
    broken: int = 0
    matches: Counter[str] = field(default_factory=Counter)
    position: TailPosition | None = None

    def add(self, other: Counted) -> None:
        """What `other` found behind it."""
        self.lines += other.lines
        self.broken += other.broken
        self.matches.update(other.matches)
        self.position = other.position


class File:
    """One followed file: its place and its patterns."""

    def __init__(self, followed: Followed, position: TailPosition | None) -> None:
        path = self.path = followed.path
        self.tail = Tail(lambda: rotation.current(path), position, path)
        self.logged_problem: str | None = None
        self._new = position is None
        self.apply(followed)

    def apply(self, followed: Followed) -> None:
        """Search for other patterns from now on."""
        self.followed = followed
        self._patterns = {
            name: compile_linear(pattern) for name, pattern in followed.patterns.items()
        }

    def step(self) -> Counted:
        """Read what is new."""
        counted = Counted()
        if self._new and not self._skip_what_was_there():
            return counted
        for block in self.tail.blocks(STEP_BYTES):
            counted.lines += block.count(b"\n")
            text = block
            if self.followed.format == "json":
                text, broken = json_as_text(block, self.followed.message_key)
                counted.broken += broken
            text = searchable(text)
            for name, pattern in self._patterns.items():
                counted.matches[name] += matching_lines(pattern, text)
        counted.position = self.tail.position
        return counted

    def _skip_what_was_there(self) -> bool:
        """False while it is unknown whether there is a file, or what is in it."""
        try:
            file = rotation.current(self.followed.path)
            there = file is not None and bool(file.stat())
        except FileNotFoundError:
            there = False
        except OSError as error:
            self.tail.problem = error.strerror
            return False
        if there:
            self.tail.skip_to_end()
            self._new = self.tail.problem is not None
        else:
            self.tail.read_what_comes()
            self._new = False
        return not self._new


class Follower:
    """All followed files; polls in a thread, keeps the positions, counts."""

    def __init__(self, state: PositionStore, metrics: Metrics) -> None:
        self._state, self._metrics = state, metrics
        self._lines = metrics.counter("quant_log_followed_lines_total")
        self._matches = metrics.counter("quant_log_matches_total")
        self._broken = metrics.counter("quant_log_broken_total")
        self._files: dict[str, File] = {}
        self._pending: dict[str, Counted] = {}
        self._wanted: dict[str, Followed] = {}
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        metrics.add_reader(self._read)

    def apply(self, follow: Mapping[str, Followed]) -> None:
        """Apply what the config names, with the next step; files that stay are read on."""
        for name, before in self._wanted.items():
            for pattern in before.patterns.keys() - follow.get(name, before).patterns.keys():
                self._matches.remove(name, pattern)
        self._wanted = dict(follow)
        self._metrics.keep_only("file", follow)
        for name, followed in follow.items():
            self._lines.labels(name)
            self._broken.labels(name)
            for pattern in followed.patterns:
                self._matches.labels(name, pattern)

    def start(self) -> None:
        """Begin to poll."""
        self._task = asyncio.create_task(self._run(), name="log follower")

    async def stop(self) -> None:
        """Finish the step, keep the positions and count what was read."""
        self._stopping.set()
        if self._task is not None:
            await self._task
        await self._publish()
        for file in self._files.values():
            file.tail.close()

    async def step(self) -> None:
        """Read and count what is new in every file."""
        await self._read_new()
        await self._publish()

    async def _read_new(self) -> None:
        self._open_wanted()
        for name, file in self._files.items():
            counted = await asyncio.to_thread(file.step)
            self._pending.setdefault(name, Counted()).add(counted)
            self._log_problem(name, file)

    async def _publish(self) -> None:
        """Keep the positions, all at once, then count what lies before them."""
        for name in set(self._state.kept(KIND)) - set(self._wanted):
            await self._state.forget(KIND, name)
        found, self._pending = self._pending, {}
        kept = self._state.kept(KIND)
        reached = [
            (KIND, name, counted.position.to_json() | {"path": str(self._files[name].path)})
            for name, counted in found.items()
            if counted.position is not None and name in self._files
        ]
        if moved := [place for place in reached if kept.get(place[1]) != place[2]]:
            await self._state.keep_many(moved)
        for name, counted in found.items():
            if name not in self._wanted:
                continue
            self._lines.labels(name).inc(counted.lines)
            self._broken.labels(name).inc(counted.broken)
            for pattern, count in counted.matches.items():
                if pattern in self._wanted[name].patterns:
                    self._matches.labels(name, pattern).inc(count)

    def _open_wanted(self) -> None:
        for name in set(self._files) - set(self._wanted):
            self._files.pop(name).tail.close()
        for name, followed in self._wanted.items():
            old = self._files.get(name)
            if old is not None and old.followed == followed:
                continue
            if old is not None and old.path == followed.path:
                old.apply(followed)
                continue
            position = None
            if old is None:
                position = self._kept_position(name, followed)
            else:
                old.tail.close()
                if name in self._pending:
                    self._pending[name].position = None  # it belongs to the other file
            self._files[name] = File(followed, position)

    def _kept_position(self, name: str, followed: Followed) -> TailPosition | None:
        kept = self._state.kept(KIND).get(name)
        if not isinstance(kept, dict) or kept.get("path", str(followed.path)) != str(followed.path):
            return None
        return TailPosition.from_json(kept)

    def _log_problem(self, name: str, file: File) -> None:
        problem, path = file.tail.problem, file.followed.path
        if problem == file.logged_problem:
            return
        file.logged_problem = problem
        if problem is None:
            log.info("%s: reading %s", name, path, extra={"event": "follow_ok", "file": name})
        else:
            log.warning(
                "%s: %s cannot be read: %s", name, path, problem,
                extra={"event": "follow_failed", "file": name},
            )  # fmt: skip

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        publish_at = loop.time()
        while not self._stopping.is_set():
            try:
                await self._read_new()
                if loop.time() >= publish_at:
                    publish_at = loop.time() + KEEP_SECONDS
                    await self._publish()
            except Exception:
                # Whatever happens with one file, reading goes on; a bug is logged with its stack.
                log.exception("following log files failed", extra={"event": "follow_failed"})
            lagging = any(file.tail.lag_bytes for file in self._files.values())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.001 if lagging else POLL_SECONDS):
                    await self._stopping.wait()

    def problems(self) -> dict[str, str]:
        """Why the files that cannot be read now cannot, by name."""
        return {n: f.tail.problem for n, f in self._files.items() if f.tail.problem is not None}

    def _read(self) -> Iterable[Sample]:
        for name, file in list(self._files.items()):
            yield "quant_log_lag_bytes", (name,), float(file.tail.lag_bytes)
            yield "quant_log_followed_readable", (name,), float(file.tail.problem is None)
        for name, followed in list(self._wanted.items()):
            for severity, limit in followed.max_failure_ratio.items():
                yield "quant_log_failure_limit_ratio", (name, severity), limit
