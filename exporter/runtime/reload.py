"""A new config file taken while all goes on; or not taken, and said so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from exporter.config import Config, ConfigError, Mistake, load
from exporter.metrics import Sample
from exporter.runtime.sd_notify import Notifier
from exporter.sources.registry import SupplyError
from exporter.util.clock import Clock
from exporter.util.nan import NAN

logger = logging.getLogger(__name__)

_NEEDS_RESTART = ("listen", "state")


class Reloading:
    """Takes the file as it is now. One at a time; `lock` is held by a start too."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        notifier: Notifier,
        running: Callable[[], Config],
        take: Callable[[Config], Awaitable[None]],
    ) -> None:
        self._path, self._clock, self._notifier = path, clock, notifier
        self._running, self._take = running, take
        self.lock = asyncio.Lock()
        self._well, self._at = 1.0, NAN
        self._asked: set[asyncio.Task[list[str]]] = set()
        self._closed: str | None = None

    def taken(self) -> None:
        """The config that runs was taken just now."""
        self._well, self._at = 1.0, self._clock.now()

    def close(self, why: str) -> None:
        """Take no file any more."""
        self._closed = why

    def ask(self) -> None:
        """Have the file taken soon; for a signal handler."""
        asked = asyncio.ensure_future(self.reload())
        self._asked.add(asked)
        asked.add_done_callback(self._asked.discard)

    async def reload(self) -> list[str]:
        """The mistakes that stopped the file from being taken, one a line, or none."""
        async with self.lock:
            if self._closed:
                return [self._closed]
            self._notifier.reloading()
            mistakes = await self._try()
            if mistakes:
                self._well = 0.0
                logger.error(
                    "the new config was not taken, the old one goes on: %s", "; ".join(mistakes),
                    extra={"event": "reload_failed"},
                )  # fmt: skip
            else:
                self.taken()
                logger.info("the new config was taken", extra={"event": "reloaded"})
            self._notifier.ready()
            return mistakes

    async def _try(self) -> list[str]:
        file = str(self._path)
        try:
            config = await asyncio.to_thread(load, self._path)
        except ConfigError as error:
            return [mistake.line(file) for mistake in error.mistakes]
        old = self._running()
        fixed = [key for key in _NEEDS_RESTART if getattr(config, key) != getattr(old, key)]
        if fixed:
            return [
                Mistake(key, "cannot change while running; restart").line(file) for key in fixed
            ]
        try:
            await self._take(config)
        except SupplyError as error:
            return [Mistake("", str(error)).line(file)]
        return []

    def samples(self) -> Iterator[Sample]:
        """Whether the newest file was taken, and when one was, at a scrape."""
        yield "quant_exporter_config_last_reload_successful", (), self._well
        name = "quant_exporter_config_last_reload_success_timestamp_seconds"
        yield name, (), self._at
