"""Every limit of the config: exposed as a metric next to what it limits."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from exporter.calendars.loader import Calendar
from exporter.config import Config
from exporter.config.limit_keys import STRATEGY_MEASURES
from exporter.custom_metrics.custom_metrics import CustomMetrics, NewValue
from exporter.custom_metrics.textfiles import TextfileFolder
from exporter.limits.readings import Reading, Readings
from exporter.limits.signal_days import SignalDays
from exporter.metrics import Metrics, Sample
from exporter.state import State
from exporter.strategies.tracker import Strategies
from exporter.util.clock import Clock


@dataclass(frozen=True)
class LimitedParts:
    """What limits are on."""

    custom: CustomMetrics
    textfiles: TextfileFolder
    strategies: Strategies
    calendar: Callable[[str], Calendar]


class LimitService:
    """Use it on the loop; its samples are read in the scrape's thread."""

    def __init__(
        self,
        state: State,
        metrics: Metrics,
        clock: Clock,
        parts: LimitedParts,
    ) -> None:
        self._clock, self._custom, self._textfiles = clock, parts.custom, parts.textfiles
        self._calendar = parts.calendar
        self._signals = SignalDays(state)
        self.readings = Readings(parts.custom, parts.strategies, self._signals, parts.calendar)
        self._config: Config | None = None
        parts.custom.listeners.append(self._heard)
        metrics.add_reader(self._read)

    def apply(self, config: Config) -> None:
        """Use the limits of the running config."""
        self._config = config
        self.readings.apply(config)

    async def look(self) -> None:
        """Called every few seconds."""
        await self._signals.flush()

    def _heard(self, new: NewValue) -> None:
        """A new value of a metric of the user's own."""
        if self._config is None:
            return
        for name, limit in self._config.limits.items():
            if limit.measure(name) == "signals_without_fill" and _is(new.name, limit.signals):
                strategy = dict(new.labels).get("strategy", "")
                settings = self._config.strategies.get(strategy)
                if settings and settings.exchange:
                    declared = self._custom.table.declared.get(new.name)
                    counts = bool(declared and declared.type == "counter")
                    calendar = self._calendar(settings.exchange)
                    self._signals.note(strategy, new, calendar, counts=counts)
                return  # once, however many limits rest on it

    # --- what a scrape shows

    def _read(self) -> Iterator[Sample]:
        now, config = self._clock.now(), self._config
        if config is None:
            return
        readings = defaultdict[str, list[Reading]](list)
        for one in self.readings.all(now):
            readings[one.limit].append(one)
        for name, limit in config.limits.items():
            measure = limit.measure(name)
            yield "quant_limit_info", (name, measure, STRATEGY_MEASURES.get(measure, "")), 1.0
            of = readings[name]
            for one in of:
                labels = (name, one.strategy, one.subject)
                yield "quant_limit_value", labels, one.value
                yield "quant_limit_value_timestamp_seconds", labels, one.at
            for strategy in dict.fromkeys(one.strategy for one in of):
                if measure not in STRATEGY_MEASURES:
                    unknown = any(math.isnan(r.value) for r in of if r.strategy == strategy)
                    yield "quant_limit_unknown", (name, strategy), float(unknown)
                for severity, bound in limit.max.items():
                    yield "quant_limit_max", (name, strategy, severity), bound
                for severity, bound in limit.min.items():
                    yield "quant_limit_min", (name, strategy, severity), bound
        yield from self._ages(config, now)

    def _ages(self, config: Config, now: float) -> Iterator[Sample]:
        """Of declared metrics with `max_age`, and of text files: the series that has waited
        longest."""
        for name, metric in config.metrics.items():
            if metric.max_age is None:
                continue
            oldest: dict[str, float] = {}
            for value in self._custom.values(name):
                strategy = dict(value.labels).get("strategy", "")
                oldest[strategy] = min(oldest.get(strategy, math.inf), value.at)
            for strategy, at in (oldest or {"": self._custom.since(name)}).items():
                yield "quant_limit_age_seconds", (name, strategy), max(0.0, now - at)
                labels = (name, strategy, metric.severity)
                yield "quant_limit_age_limit_seconds", labels, metric.max_age
        if config.textfiles is None or config.textfiles.max_age is None:
            return
        for file, known in list(self._textfiles.files.items()):
            if not math.isnan(known.mtime):
                yield "quant_limit_age_seconds", (file, ""), max(0.0, now - known.mtime)
                labels = (file, "", "warning")
                yield "quant_limit_age_limit_seconds", labels, config.textfiles.max_age


def _is(name: str, configured: str) -> bool:
    return name in (configured, configured.removesuffix("_total"))
