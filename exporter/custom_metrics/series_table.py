"""All series of users' metrics in memory, bounded: too many names or series are refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from prometheus_client.metrics_core import Metric

from exporter.config import OwnMetric
from exporter.custom_metrics.own_value import Kind, OwnValue, RefusedValueError

MOST_NAMES = 100
"""Metrics that exporter.yml does not declare."""
MOST_SERIES = 100
"""Of each of them."""
MOST_IN_ALL = 3000
FORGET_SECONDS = 7 * 86400.0
"""A series that nobody has set for so long is forgotten, unless `max_age` watches it."""

Key = tuple[str, tuple[tuple[str, str], ...]]
"""Name of the sample (a histogram has three) and labels."""


@dataclass(slots=True)
class OwnSeries:
    """The newest value of one series, and since when it is."""

    value: float
    at: float
    origin: str = ""
    """The text file that it is from; empty: a task or a program set it."""


@dataclass
class Family:
    """All series of one metric."""

    name: str
    kind: Kind
    help: str = ""
    series: dict[Key, OwnSeries] = field(default_factory=dict)


class SeriesTable:
    """Metrics by name. Values of undeclared metrics are bounded by the constants above."""

    def __init__(self) -> None:
        self.families: dict[str, Family] = {}
        self._declared: Mapping[str, OwnMetric] = {}
        self._count = 0

    def declare(self, declared: Mapping[str, OwnMetric]) -> None:
        """What exporter.yml says. Series that no longer fit it are forgotten."""
        self._declared = {base_name(name, one): one for name, one in declared.items()}
        for name, family in list(self.families.items()):
            one = self._declared.get(name)
            labels = one and set(one.labels)
            if one and (
                one.type != family.kind
                or any({label for label, _ in key[1]} != labels for key in family.series)
            ):
                self._count -= len(family.series)
                del self.families[name]

    @property
    def declared(self) -> Mapping[str, OwnMetric]:
        """By the name without `_total`."""
        return self._declared

    def typed(self, value: OwnValue) -> OwnValue:
        """With the type that is known of its metric, where a file says none; otherwise a gauge."""
        if value.kind != "unknown":
            return value
        base = value.name.removesuffix("_total")
        one = self._declared.get(base)
        if one is not None and one.type == "counter":
            return replace(value, name=base, kind="counter")
        family = self.families.get(value.name)
        return replace(value, kind=family.kind if family else "gauge")

    def check(self, value: OwnValue, sample: str = "") -> None:
        """Whether there is room for it and it fits what is known of its metric. Raises
        :class:`RefusedValueError`."""
        name, one = value.name, self._declared.get(value.name)
        family = self.families.get(name)
        if one is not None:
            if one.type != value.kind:
                raise RefusedValueError("type", f"{name} is declared as a {one.type}")
            given = [label for label, _ in value.labels]
            if given != sorted(one.labels):
                raise RefusedValueError(
                    "labels",
                    f"{name} has the labels {', '.join(given) or 'none'}; declared: "
                    f"{', '.join(one.labels) or 'none'}",
                )
        elif family is None and len(self._undeclared()) >= MOST_NAMES:
            raise RefusedValueError(
                "names",
                f"{name}: {MOST_NAMES} metrics are there that `metrics:` does not declare, and no "
                "more are taken: declare those that you need",
            )
        if family is None:
            if self._count >= MOST_IN_ALL:
                raise RefusedValueError("series", f"{name}: {_too_many(MOST_IN_ALL)}")
            return
        if family.kind != value.kind:
            raise RefusedValueError("type", f"{name} is a {family.kind}, not a {value.kind}")
        if (sample or name, value.labels) in family.series:
            return
        most = one.max_series if one else MOST_SERIES
        if len(family.series) >= most:
            raise RefusedValueError(
                "series",
                f"{name} has {most} series, as many as it may (max_series): bound its labels",
            )
        if self._count >= MOST_IN_ALL:
            raise RefusedValueError("series", f"{name}: {_too_many(MOST_IN_ALL)}")

    def put(self, value: OwnValue, series: OwnSeries, sample: str = "", text: str = "") -> None:
        """Set one series that was checked."""
        family = self.families.get(value.name)
        if family is None:
            one = self._declared.get(value.name)
            family = Family(value.name, value.kind, one.help if one else text)
            self.families[value.name] = family
        key = (sample or value.name, value.labels)
        self._count += key not in family.series
        family.series[key] = series

    def get(self, value: OwnValue) -> OwnSeries | None:
        """What is known of the series."""
        family = self.families.get(value.name)
        return family.series.get((value.name, value.labels)) if family else None

    def drop(self, name: str, key: Key) -> bool:
        """Forget one series; False when there is none."""
        family = self.families.get(name)
        if family is None or family.series.pop(key, None) is None:
            return False
        self._count -= 1
        if not family.series:
            del self.families[name]
        return True

    def forgotten(self, now: float) -> Iterator[tuple[str, Key]]:
        """Series that nobody has set for too long."""
        for name, family in self.families.items():
            one = self._declared.get(name)
            if one is not None and one.max_age is not None:
                continue
            for key, series in family.series.items():
                if now - series.at > FORGET_SECONDS and not series.origin:
                    yield name, key

    def metrics(self) -> Iterator[Metric]:
        """As a scrape shows them."""
        for family in list(self.families.values()):
            one = self._declared.get(family.name)
            text = (one.help if one else family.help) or "Set by a task or a program."
            metric = Metric(family.name, text, family.kind)
            suffix = "_total" if family.kind == "counter" else ""
            for (sample, labels), series in list(family.series.items()):
                metric.add_sample(sample + suffix, dict(labels), series.value)
            yield metric

    @property
    def count(self) -> int:
        """Of all series."""
        return self._count

    def _undeclared(self) -> set[str]:
        return self.families.keys() - self._declared.keys()


def base_name(name: str, one: OwnMetric) -> str:
    """The name by which its values are kept."""
    return name.removesuffix("_total") if one.type == "counter" else name


def _too_many(most: int) -> str:
    return f"there are {most} series of your own metrics, and no more are taken"
