"""What must be ready before a config can be applied: calendars and sources.

A simulated source without an address gets its own simulator in this process. It speaks HTTP on
loopback, so that the same code runs as with a real source.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from exporter.calendars.loader import Calendars
from exporter.config import Config, SourceSettings, TickDBSettings
from exporter.config.exchanges import apply_to_calendars, make_calendars, own_tables
from exporter.config.paths import cache_folder, users_cache
from exporter.config.source_settings import PythonSettings
from exporter.metrics import Metrics, Sample
from exporter.simulator.tickdb_server import Simulator
from exporter.sources.base import SourceError, WatchedSource
from exporter.sources.factory import Surroundings, open_source
from exporter.util.clock import Clock

CLOCK_OFFSET_SECONDS = 30.0
"""By how much the machine's clock may be wrong before it alerts."""


class SupplyError(Exception):
    """Something that the config needs is not available; the message says what, and what to do."""


class Supply:
    """The calendars and sources of the running config. `sources` stays the same object."""

    def __init__(self, config: Config, metrics: Metrics, clock: Clock) -> None:
        self._metrics, self._clock = metrics, clock
        self._cache = cache_folder(config)
        self.calendars = make_calendars(config, clock, self._cache)
        self.sources: dict[str, WatchedSource] = {}
        self.simulators: dict[str, Simulator] = {}
        self._settings: dict[str, SourceSettings] = {}
        self._opened: list[WatchedSource] = []
        self._settled: list[WatchedSource] = []

    async def reconcile(self, config: Config) -> None:
        """Open what `config` names, and close what it no longer names.

        Raises :class:`SupplyError`; then all is as it was.
        """
        opened: dict[str, WatchedSource] = {}
        simulators: dict[str, Simulator] = {}
        around = Surroundings.of(config)
        try:
            await self.calendars.load(config.exchanges_in_use, own_tables(config))
            for name, settings in config.sources.items():
                # The user's code may have changed although its settings have not.
                if self._settings.get(name) != settings or isinstance(settings, PythonSettings):
                    opened[name] = await self._open(name, settings, simulators, around)
        except Exception as error:
            await _close(opened, simulators)
            raise SupplyError(str(error)) from error
        apply_to_calendars(config, self.calendars)
        over = [n for n in self.sources if n in opened or n not in config.sources]
        old = {n: self.sources.pop(n) for n in over}
        old_simulators = {n: self.simulators.pop(n) for n in over if n in self.simulators}
        self.sources.update(opened)
        self._opened += opened.values()
        self.simulators.update(simulators)
        self._settings = dict(config.sources)
        await _close(old, old_simulators)

    async def fetch_key_expiry(self) -> None:
        """Ask each new source once when its key expires; to be called every minute.

        Otherwise nobody would know between a start and the next key check. Not at the first call
        after it was opened: bars come first. A source that does not answer has counted the failure.
        """
        due, self._settled, self._opened = self._settled, self._opened, []
        for source in due:
            if self.sources.get(source.name) is source:
                with suppress(SourceError):
                    await source.subscription()

    async def close(self) -> None:
        """Close every source and simulator."""
        await _close(self.sources, self.simulators)

    async def _open(
        self,
        name: str,
        settings: SourceSettings,
        simulators: dict[str, Simulator],
        around: Surroundings,
    ) -> WatchedSource:
        url = None
        mine = settings if isinstance(settings, TickDBSettings) else None
        if mine and mine.type == "simulated" and not mine.url:
            simulators[name] = simulator = Simulator(
                Calendars(self._cache, {}, self._clock, also=users_cache()), self._clock,
                seed=mine.seed, requests_per_minute=1_000_000,
            )  # fmt: skip
            url = await simulator.start()
        return open_source(
            name, settings, self._metrics, self._clock, simulator_url=url, around=around
        )

    def samples(self) -> Iterator[Sample]:
        """The samples of the clock and of each source at a scrape."""
        yield "quant_exporter_clock_timestamp_seconds", (), self._clock.now()
        yield "quant_exporter_clock_offset_limit_seconds", (), CLOCK_OFFSET_SECONDS
        for source in list(self.sources.values()):
            yield "quant_source_simulated", (source.name,), float(source.simulated)
            yield "quant_source_out_since_timestamp_seconds", (source.name,), source.out_since()
            yield "quant_source_clock_offset_seconds", (source.name,), source.clock_offset()
            yield "quant_source_key_expiry_timestamp_seconds", (source.name,), source.key_expiry


async def _close(sources: dict[str, WatchedSource], simulators: dict[str, Simulator]) -> None:
    for source in sources.values():
        await source.close()
    for simulator in simulators.values():
        await simulator.close()
