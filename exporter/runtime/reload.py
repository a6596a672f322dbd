"""Applies the config file while the exporter runs, or rejects it and says why."""

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
    """Applies the file as it is now. One at a time; a start holds `lock` too."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        notifier: Notifier,
        running: Callable[[], Config],
        apply: Callable[[Config], Awaitable[None]],
    ) -> None:
        self._path, self._clock, self._notifier = path, clock, notifier
        self._running, self._apply = running, apply
        self.lock = asyncio.Lock()
        self._successful, self._at = 1.0, NAN
        self._asked: set[asyncio.Task[list[str]]] = set()
        self._closed: str | None = None

    def succeeded(self) -> None:
        """The running config was applied just now."""
        self._successful, self._at = 1.0, self._clock.now()

    def close(self, why: str) -> None:
        """Reject every further reload."""
        self._closed = why

    def ask(self) -> None:
        """Reload soon; for a signal handler."""
        asked = asyncio.ensure_future(self.reload())
        self._asked.add(asked)
        asked.add_done_callback(self._asked.discard)

    async def reload(self, *, force: bool = False) -> list[str]:
        """Reload now. Returns why the file was rejected, one mistake per line; empty on success.
        With `force` a file without tasks, feeds and strategies is applied too."""
        async with self.lock:
            if self._closed:
                return [self._closed]
            self._notifier.reloading()
            mistakes = await self._try(force)
            if mistakes:
                self._successful = 0.0
                logger.error(
                    "configuration not reloaded, the old one stays in force: %s",
                    "; ".join(mistakes),
                    extra={"event": "reload_failed"},
                )
            else:
                self.succeeded()
                logger.info("configuration reloaded", extra={"event": "reloaded"})
            self._notifier.ready()
            return mistakes

    async def _try(self, force: bool) -> list[str]:
        file = str(self._path)
        try:
            config = await asyncio.to_thread(load, self._path)
        except ConfigError as error:
            return [mistake.line(file) for mistake in error.mistakes]
        old = self._running()
        fixed = [key for key in _NEEDS_RESTART if getattr(config, key) != getattr(old, key)]
        if fixed:
            return [
                Mistake(key, "cannot change while the exporter runs; restart it").line(file)
                for key in fixed
            ]
        if _names_something(old) and not _names_something(config) and not force:
            why = "no tasks, feeds or strategies are left; to stop them all, use reload --force"
            return [Mistake("", why).line(file)]
        try:
            await self._apply(config)
        except SupplyError as error:
            return [Mistake("", str(error)).line(file)]
        return []

    def samples(self) -> Iterator[Sample]:
        """Whether the last reload succeeded, and when one last did."""
        yield "quant_exporter_config_last_reload_successful", (), self._successful
        name = "quant_exporter_config_last_reload_success_timestamp_seconds"
        yield name, (), self._at


def _names_something(config: Config) -> bool:
    return bool(config.tasks or config.feeds or config.strategies)
