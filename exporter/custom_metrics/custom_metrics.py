"""The one service that tasks, requests, lines of programs and text files write to."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from exporter.config import Config
from exporter.custom_metrics.own_value import Kind, OwnValue, RefusedValueError
from exporter.custom_metrics.series_table import Key, OwnSeries, SeriesTable
from exporter.metrics import Metrics, Sample
from exporter.state import State
from exporter.util.clock import FUTURE_TOLERANCE_SECONDS, Clock, iso

KIND = "own_metric"
"""Kind in the state."""
REASONS = ("name", "labels", "value", "type", "names", "series")
_SAID_EVERY_SECONDS = 3600.0
_PROBLEMS = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NewValue:
    """A value that a series has from now on."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float
    at: float


class CustomMetrics(Collector):
    """Use it on the loop; :meth:`collect` runs in the scrape's thread.

    Values outlive the process: :meth:`flush` writes what was set since, every few seconds.
    """

    def __init__(self, state: State, metrics: Metrics, clock: Clock) -> None:
        self._state, self._clock = state, clock
        self._table = SeriesTable()
        self._since: dict[str, float] = {}
        """When each declared metric was first seen here: one that never came is as old as that."""
        self._changed: dict[str, Any] = {}
        """By the name in the state: what is to be written, None for what is forgotten."""
        self._problems: deque[tuple[float, str, str]] = deque(maxlen=_PROBLEMS)
        self._said: dict[tuple[str, str], float] = {}
        self.listeners: list[Callable[[NewValue], None]] = []
        """Called with each value that is new."""
        self._refused = metrics.counter("quant_custom_refused_total")
        for reason in REASONS:
            self._refused.labels(reason)
        metrics.add_reader(self._read)
        metrics.registry.register(self)

    # --- in

    def set(
        self,
        name: Any,
        value: Any,
        labels: Mapping[Any, Any] | None = None,
        *,
        kind: Kind = "gauge",
        add: bool = False,
        at: float | None = None,
    ) -> str | None:
        """Set a gauge, or a counter (with `add`, count it up); value None forgets the series.

        Never raises. Returns why it was refused, None when it was not. A value whose `at` is not
        newer than what is known changes nothing: what is sent again counts once.
        """
        try:
            self._set(OwnValue.of(name, value, labels or {}, kind=kind, add=add, at=at))
        except RefusedValueError as error:
            self.refuse(error)
            return str(error)
        return None

    def _set(self, new: OwnValue) -> None:
        now = self._clock.now()
        at = now if new.at is None else new.at
        if at > now + FUTURE_TOLERANCE_SECONDS:
            raise RefusedValueError("value", f"{new.name}: timestamp {iso(at)} lies in the future")
        known = self._table.get(new)
        if new.value is None:
            key = (new.name, new.labels)
            if self._table.drop(new.name, key):
                self._changed[_kept_name(key)] = None
            return
        if known is not None and new.at is not None and new.at <= known.at:
            return
        self._table.check(new)
        value = new.value
        if new.add and known is not None:
            value += known.value
        series = OwnSeries(value, at)
        self._table.put(new, series)
        self._changed[_kept_name((new.name, new.labels))] = [
            new.name, dict(new.labels), repr(value), at, new.kind
        ]  # fmt: skip
        self.tell(NewValue(new.name, new.labels, value, at))

    def tell(self, new: NewValue) -> None:
        """Hand a new value to the listeners."""
        for listener in self.listeners:
            listener(new)

    def refuse(self, error: RefusedValueError) -> None:
        """Count it, and say it in the log once an hour."""
        self._refused.labels(error.reason).inc()
        text, now = str(error), self._clock.now()
        about = (error.reason, text.partition(":")[0][:80])
        if now - self._said.get(about, float("-inf")) < _SAID_EVERY_SECONDS:
            return
        if len(self._said) >= 500:
            self._said.clear()
        self._said[about] = now
        self._problems.append((now, error.reason, text))
        log.warning(
            "a value of a metric was refused: %s", text,
            extra={"event": "own_metric_refused", "reason": error.reason},
        )  # fmt: skip

    @property
    def table(self) -> SeriesTable:
        """For :class:`~exporter.custom_metrics.textfiles.TextfileFolder`, which sets its own."""
        return self._table

    # --- config and state

    def apply(self, config: Config) -> None:
        """The metrics that the running config declares; at the start, the kept values too."""
        if not self._since and not self._table.families:
            self._table.declare(config.metrics)
            self._restore()
        self._table.declare(config.metrics)
        now = self._clock.now()
        self._since = {name: self._since.get(name, now) for name in self._table.declared}

    def _restore(self) -> None:
        for row in self._state.kept(KIND).values():
            try:
                name, labels, value, at, kind = row
                kept = OwnValue.of(name, float(value), labels, kind=kind)
                self._table.check(kept)
                self._table.put(kept, OwnSeries(float(value), float(at)))
            except (TypeError, ValueError):
                continue  # of another version, or no longer as declared

    async def flush(self) -> None:
        """Save what changed; forget what nobody sets any longer."""
        for name, key in list(self._table.forgotten(self._clock.now())):
            self._table.drop(name, key)
            self._changed[_kept_name(key)] = None
        changed, self._changed = self._changed, {}
        if rows := [(KIND, name, row) for name, row in changed.items() if row is not None]:
            await self._state.keep_many(rows)
        for name in (name for name, row in changed.items() if row is None):
            await self._state.forget(KIND, name)

    # --- out

    def problems(self, within: float = 86400.0) -> list[str]:
        """What was refused of late, in sentences."""
        since = self._clock.now() - within
        return [text for at, _, text in self._problems if at >= since]

    def values(self, name: str) -> Iterator[NewValue]:
        """Every series of one metric."""
        family = self._table.families.get(name.removesuffix("_total")) or self._table.families.get(
            name
        )
        for (_, labels), series in list(family.series.items()) if family else ():
            yield NewValue(family.name, labels, series.value, series.at)  # type: ignore[union-attr]

    def since(self, name: str) -> float:
        """When a declared metric was first seen; NaN: it is not declared."""
        return self._since.get(name, self._since.get(name.removesuffix("_total"), float("nan")))

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before it comes."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every value."""
        yield from self._table.metrics()

    def _read(self) -> Iterator[Sample]:
        yield "quant_custom_series", (), float(self._table.count)
        for name, since in list(self._since.items()):
            family = self._table.families.get(name)
            # The one that has waited longest: others may be fresh.
            oldest = (
                min((s.at for s in list(family.series.values())), default=since)
                if family
                else since
            )
            yield "quant_custom_oldest_timestamp_seconds", (name,), oldest


def _kept_name(key: Key) -> str:
    name, labels = key
    return name + "".join(f"|{label}={value}" for label, value in labels)
