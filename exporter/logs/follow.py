"""Log files of other programs, counted line by line as they grow.

``logs.follow`` names each file with patterns; a line that a pattern is found in counts once for it.
In a JSON file patterns are looked for in "level logger message" of each line; the fields may lie
in a ``record`` object, as Loguru writes them. A file that is new in the config is read from its
present end; after a restart reading goes on where it stopped, also in a file rotated since.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from exporter.config import Followed
from exporter.logs.reading import Record, parse
from exporter.logs.tail import Position, Tail
from exporter.metrics import Metrics, Sample

POLL_SECONDS = 1.0
KEEP_SECONDS = 5.0
STEP_BYTES = 32_000_000
"""Read from one file before the others have their turn."""
KIND = "follower"
"""Under which the positions are kept."""


class Keeps(Protocol):
    """What is needed of :class:`exporter.state.State`."""

    def kept(self, kind: str) -> Mapping[str, object]: ...
    async def keep(self, kind: str, name: str, value: dict[str, object]) -> None: ...
    async def forget(self, kind: str, name: str) -> None: ...


@dataclass
class Counted:
    """What one step found in a file."""

    lines: int = 0
    broken: int = 0
    matches: dict[str, int] = field(default_factory=dict)


class File:
    """One followed file: its place and its patterns."""

    def __init__(self, followed: Followed, position: Position | None) -> None:
        self.followed = followed
        self.tail = Tail(lambda: followed.path, position)
        if position is None and followed.path.exists():
            self.tail.skip_to_end()
        self._patterns = {
            name: re.compile(pattern.encode(), re.MULTILINE)
            for name, pattern in followed.patterns.items()
        }

    def step(self) -> Counted:
        """Read what is new."""
        counted = Counted(matches=dict.fromkeys(self._patterns, 0))
        for block in self.tail.blocks(STEP_BYTES):
            counted.lines += block.count(b"\n")
            text = self._flat(block, counted) if self.followed.format == "json" else block
            for name, pattern in self._patterns.items():
                counted.matches[name] += matching_lines(pattern, text)
        return counted

    def _flat(self, block: bytes, counted: Counted) -> bytes:
        texts = []
        for line in block[:-1].split(b"\n"):
            record = parse(line)
            if record is not None:
                texts.append(_flat_text(record).replace("\n", " "))
            elif line.strip():
                counted.broken += 1
        return "\n".join([*texts, ""]).encode("utf-8", "replace")


def _flat_text(record: Record) -> str:
    inner = record.get("record")
    if isinstance(inner, dict) and "message" in inner:
        record = inner
    level = record.get("level") or record.get("levelname") or ""
    level = level.get("name", "") if isinstance(level, dict) else level
    logger = record.get("logger") or record.get("name") or ""
    return f"{level} {logger} {record.get('message') or record.get('msg') or ''}"


def matching_lines(pattern: re.Pattern[bytes], block: bytes) -> int:
    """How many lines of `block` (whole lines, each with its line feed) the pattern is found in.

    The whole block is searched at once, which for rare patterns is far quicker than line by line.
    """
    count = position = 0
    while (found := pattern.search(block, position)) and found.start() < len(block):
        start = block.rfind(b"\n", 0, found.start()) + 1
        end = block.find(b"\n", found.start())
        # A match that reaches over the line's end (\s, [^x]) counts only if it is in the line too.
        if found.end() <= end or pattern.search(block, max(start, position), end):
            count += 1
        position = end + 1
    return count


class Follower:
    """All followed files; polls in a thread, counts, and keeps the positions."""

    def __init__(self, state: Keeps, metrics: Metrics) -> None:
        self._state, self._metrics = state, metrics
        self._lines = metrics.counter("quant_log_followed_lines_total")
        self._matches = metrics.counter("quant_log_matches_total")
        self._broken = metrics.counter("quant_log_broken_total")
        self._files: dict[str, File] = {}
        self._kept: dict[str, Position] = {}
        self._wanted: dict[str, Followed] = {}
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        metrics.add_reader(self._read)

    def apply(self, follow: Mapping[str, Followed]) -> None:
        """Take over what the config names, with the next step; files that stay are read on."""
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
        """Finish the step, and keep the positions."""
        self._stopping.set()
        if self._task is not None:
            await self._task
        await self._keep()
        for file in self._files.values():
            file.tail.close()

    async def step(self) -> None:
        """Read and count what is new in every file."""
        self._take_over()
        for name, file in self._files.items():
            counted = await asyncio.to_thread(file.step)
            if name not in self._wanted:
                continue
            self._lines.labels(name).inc(counted.lines)
            self._broken.labels(name).inc(counted.broken)
            for pattern, count in counted.matches.items():
                if pattern in self._wanted[name].patterns:
                    self._matches.labels(name, pattern).inc(count)

    def _take_over(self) -> None:
        for name in set(self._files) - set(self._wanted):
            self._files.pop(name).tail.close()
        for name, followed in self._wanted.items():
            old = self._files.get(name)
            if old is not None and old.followed == followed:
                continue
            position = Position.from_json(self._state.kept(KIND).get(name))
            if old is not None:
                same = old.followed.path == followed.path
                position = old.tail.position if same else None
                old.tail.close()
            self._files[name] = File(followed, position)

    async def _run(self) -> None:
        polls = 0
        while not self._stopping.is_set():
            await self.step()
            polls += 1
            if polls % round(KEEP_SECONDS / POLL_SECONDS) == 0:
                await self._keep()
            behind = any(file.tail.behind_bytes for file in self._files.values())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.001 if behind else POLL_SECONDS):
                    await self._stopping.wait()

    async def _keep(self) -> None:
        for name in set(self._state.kept(KIND)) - set(self._files):
            await self._state.forget(KIND, name)
        for name, file in self._files.items():
            position = file.tail.position
            if position is not None and position != self._kept.get(name):
                await self._state.keep(KIND, name, position.to_json())
                self._kept[name] = position

    def _read(self) -> Iterable[Sample]:
        for name, file in list(self._files.items()):
            yield "quant_log_behind_bytes", (name,), float(file.tail.behind_bytes)
