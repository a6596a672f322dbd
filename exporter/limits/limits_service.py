"""Every limit of the config: exposed as a metric next to what it limits, and acted upon."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from exporter.backtests.published import BacktestResults
from exporter.calendars.loader import Calendar
from exporter.config import Config, LimitSettings
from exporter.config.limit_keys import MAY_BE_UNKNOWN, STRATEGY_MEASURES
from exporter.custom_metrics.custom_metrics import CustomMetrics, NewValue
from exporter.custom_metrics.textfiles import TextfileFolder
from exporter.limits.actions import Actions
from exporter.limits.breach import Bounds, Watch
from exporter.limits.readings import Reading, Readings
from exporter.limits.signal_days import SignalDays
from exporter.metrics import Metrics, Sample
from exporter.state import State
from exporter.strategies.tracker import Strategies
from exporter.util.clock import Clock

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LimitedParts:
    """What limits are on."""

    custom: CustomMetrics
    textfiles: TextfileFolder
    strategies: Strategies
    calendar: Callable[[str], Calendar]
    backtests: BacktestResults


class LimitService:
    """Use it on the loop; its samples are read in the scrape's thread."""

    def __init__(
        self,
        state: State,
        metrics: Metrics,
        clock: Clock,
        parts: LimitedParts,
        actions: Actions,
    ) -> None:
        self._clock, self._custom, self._textfiles = clock, parts.custom, parts.textfiles
        self._calendar = parts.calendar
        self._signals = SignalDays(state)
        self.readings = Readings(
            parts.custom, parts.strategies, self._signals, parts.calendar, parts.backtests
        )
        self.actions = actions
        self._watches: dict[tuple[str, str, str], Watch] = {}
        self._unknown: dict[tuple[str, str], str] = {}
        """At the newest look."""
        self._said: dict[tuple[str, str], str] = {}
        self._config: Config | None = None
        parts.custom.listeners.append(self._heard)
        parts.strategies.listeners.append(self._curve_changed)
        metrics.add_reader(self._read)

    def apply(self, config: Config) -> None:
        """Use the limits of the running config."""
        self._config = config
        self.readings.apply(config)
        self.actions.apply(config)

    async def look(self) -> None:
        """Called every few seconds: act where a limit is broken for good, and go on with what was
        begun."""
        await self._signals.flush()
        now = self._clock.now()
        self._note_unknown(now)
        for name, limit in self.readings.limits.items():
            if limit.on_critical is not None:
                await self._judge(name, limit, list(self.readings.of(name, now)))
        await self.actions.go_on()

    def unknown(self, now: float) -> dict[tuple[str, str], str]:
        """Limit and strategy to why nobody knows the value."""
        found = {}
        for name, limit in self.readings.limits.items():
            if limit.measure(name) in MAY_BE_UNKNOWN:
                for one in self.readings.of(name, now):
                    if one.missing:
                        found[name, one.strategy] = one.missing
        return found

    def _note_unknown(self, now: float) -> None:
        """Log it once, and not what the next look knows: at the start nobody was asked yet."""
        before, self._unknown = self._unknown, self.unknown(now)
        self._said = {key: why for key, why in self._said.items() if self._unknown.get(key) == why}
        for key, why in self._unknown.items():
            if before.get(key) == why and key not in self._said:
                self._said[key] = why
                log.warning(
                    "the limit %s cannot be compared: %s", key[0], why,
                    extra={"event": "limit_unknown", "limit": key[0], "strategy": key[1]},
                )  # fmt: skip

    async def _judge(self, name: str, limit: LimitSettings, readings: list[Reading]) -> None:
        bounds, steady = Bounds.critical(limit), self._clock.monotonic()
        for one in readings:
            watch = self._see(one, bounds)
            if watch.is_confirmed(limit, steady, counted=one.counted):
                broke = replace(one, value=watch.value)  # now it may be NaN
                await self.actions.act(name, limit, one.strategy, self._why(limit, name, broke))
        for strategy in dict.fromkeys(one.strategy for one in readings):
            await self._rearm(name, limit, [one for one in readings if one.strategy == strategy])
        known = {_key(one) for one in readings}
        for key in [key for key in self._watches if key[0] == name and key not in known]:
            del self._watches[key]

    async def _rearm(self, name: str, limit: LimitSettings, readings: list[Reading]) -> None:
        """Once it was resumed by hand, and every series has been good again since."""
        record = self.actions.records.get(f"{name}|{readings[0].strategy}")
        if record is None:
            return
        watches = [self._watches[_key(one)] for one in readings]
        if not record.holds and all(watch.was_back for watch in watches):
            await self.actions.rearm(record.name)
        elif record.holds:
            bounds = Bounds.critical(limit)
            for one, watch in zip(readings, watches, strict=True):
                watch.was_back = bounds.is_back(one.value, limit.rearm)

    def _see(self, one: Reading, bounds: Bounds) -> Watch:
        watch = self._watches.setdefault(_key(one), Watch())
        watch.see(one, bounds, self._clock.monotonic())
        if bounds.is_back(one.value, self.readings.limits[one.limit].rearm):
            watch.was_back = True
        return watch

    def _why(self, limit: LimitSettings, name: str, one: Reading) -> str:
        measure = limit.measure(name)
        percent = STRATEGY_MEASURES.get(measure) == "ratio"

        def shown(value: float) -> str:
            return f"{value:.2%}" if percent else f"{value:g}"

        over = one.value > limit.max.get("critical", math.inf)
        bound = limit.max["critical"] if over else limit.min["critical"]
        of = f" of {one.strategy}" if one.strategy else ""
        subject = f" ({one.subject})" if one.subject else ""
        word = "at most" if over else "at least"
        return f"{measure}{of} is {shown(one.value)}{subject}, {word} {shown(bound)} is allowed"

    def _curve_changed(self, strategy: str) -> None:
        """Look at each new curve at once: two values between two looks are two."""
        for name, limit in self.readings.limits.items():
            measure = limit.measure(name)
            if (
                limit.on_critical is not None
                and measure in STRATEGY_MEASURES
                and (not limit.strategies or strategy in limit.strategies)
            ):
                one = self.readings.of_strategy(name, strategy, self._clock.now())
                self._see(one, Bounds.critical(limit))

    def _heard(self, new: NewValue) -> None:
        """A new value of a metric of the user's own."""
        if self._config is None:
            return
        for name, limit in self._config.limits.items():
            acts = limit.on_critical is not None and _is(new.name, limit.measure(name))
            if acts and (one := self.readings.of_value(name, new)):
                self._see(one, Bounds.critical(limit))
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
                if measure not in STRATEGY_MEASURES or measure in MAY_BE_UNKNOWN:
                    unknown = any(_is_unknown(r) for r in of if r.strategy == strategy)
                    yield "quant_limit_unknown", (name, strategy), float(unknown)
                for severity, bound in limit.max.items():
                    yield "quant_limit_max", (name, strategy, severity), bound
                for severity, bound in limit.min.items():
                    yield "quant_limit_min", (name, strategy, severity), bound
        yield from self._ages(config, now)
        failed = self.actions.unclaimed
        for record in list(self.actions.records.values()):
            if record.holds:
                who = (record.limit, record.strategy)
                yield "quant_limit_action_timestamp_seconds", who, record.at
                yield "quant_limit_action_failed", who, float(record.status == "failed")
        for name in list(failed):
            if name not in self.actions.records:
                limit_name, _, strategy = name.partition("|")
                yield "quant_limit_action_failed", (limit_name, strategy), 1.0

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


def _key(one: Reading) -> tuple[str, str, str]:
    return one.limit, one.strategy, one.subject


def _is_unknown(one: Reading) -> bool:
    """A user's own metric is just NaN; a measure says why it is NaN."""
    return bool(one.missing) or (one.of_metric and math.isnan(one.value))


def _is(name: str, configured: str) -> bool:
    return name in (configured, configured.removesuffix("_total"))
