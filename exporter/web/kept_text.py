"""The text of all metrics, of which a scrape renders only what changed since the last one.

Most of 10 000 series stand still between two scrapes. So each family keeps its lines and its
values: while these are the same, so is the text. The result is byte for byte what the encoders of
prometheus-client give. What is out of the ordinary goes through them: exemplars, functions as
values, names beyond the classic characters, collectors of others.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest as generate_plain
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_modern
from prometheus_client.utils import floatToGoString

from exporter.metrics import Column, Metrics, Spec

Encoder = Callable[["_Collected"], bytes]

_END = b"# EOF\n"
_CLASSIC_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_GO_EXPONENT = 1e6
"""From here on Go prints an exponent, and Python does not."""


class KeptText:
    """Renders one registry. Not for two threads at the same time."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._read = dict[str, _ReadFamily]()
        self._counted = dict[object, _CountedFamily]()

    def parts(self, encode: Encoder, in_openmetrics: bool) -> list[bytes]:
        """The text in parts. One that did not change is the same object as in the last call.

        `encode` is the library's for the same format.
        """
        parts = list[bytes]()
        with self._registry._lock:
            collectors = list(self._registry._collector_to_names)
        for collector in collectors:
            if isinstance(collector, Metrics):
                for spec, columns in collector.read():
                    parts += self._read_family(spec).render(columns, in_openmetrics)
                continue
            if isinstance(collector, Counter | Gauge | Histogram):
                family = self._counted.get(collector)
                if family is None:
                    family = self._counted[collector] = _CountedFamily(collector)
                if kept := family.render(in_openmetrics):
                    parts += kept
                    continue
            parts.append(_by_library(collector.collect(), encode))
        if in_openmetrics:
            parts.append(_END)
        return parts

    def _read_family(self, spec: Spec) -> _ReadFamily:
        if spec.name not in self._read:
            self._read[spec.name] = _ReadFamily(spec)
        return self._read[spec.name]


class _Family:
    """One metric's head in both formats, and its lines, which are the same in both."""

    def __init__(self, metric: Metric) -> None:
        self._heads = _by_library([metric], generate_plain), _by_library([metric], generate_modern)
        self._body = b""

    def _parts(self, in_openmetrics: bool) -> list[bytes]:
        return [self._heads[in_openmetrics], self._body]


class _ReadFamily(_Family):
    """A metric whose values are read at the scrape."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(Metric(spec.name.removesuffix("_total"), spec.help, spec.kind))
        self._start = _starter(spec.name, spec.labels)
        self._rows = list[_Rows]()

    def render(self, columns: Sequence[Column], in_openmetrics: bool) -> list[bytes]:
        """The family with these values."""
        changed = len(columns) != len(self._rows)
        if changed:
            self._rows = [_Rows() for _ in columns]
        for rows, column in zip(self._rows, columns, strict=True):
            changed = rows.update(column, self._start) or changed
        if changed:
            self._body = "".join([rows.text for rows in self._rows]).encode()
        return self._parts(in_openmetrics)


class _Rows:
    """The lines of one column, as of the last scrape."""

    def __init__(self) -> None:
        self.text = ""
        self._labels: Sequence[Sequence[str]] | None = None
        self._starts = list[str]()
        self._values: Sequence[float] = ()
        self._as_bytes = b""
        self._lines = list[str]()

    def update(self, column: Column, start: Callable[[Sequence[str]], str]) -> bool:
        """Take over the newest values; says whether the text changed."""
        if column.values is self._values and column.labels is self._labels:
            return False
        as_bytes = array("d", column.values).tobytes()
        if column.labels is not self._labels and column.labels != self._labels:
            self._starts = [start(labels) for labels in column.labels]
            pairs = zip(self._starts, column.values, strict=True)
            self._lines = [before + _go(value) for before, value in pairs]
        elif as_bytes == self._as_bytes:
            return False
        else:
            printed = _Printed()
            rows = zip(self._starts, column.values, self._values, self._lines, strict=True)
            self._lines = [
                line if _is_same(value, old) else before + printed[value]
                for before, value, old, line in rows
            ]
        self._labels, self._values, self._as_bytes = column.labels, column.values, as_bytes
        self.text = "".join(self._lines)
        return True


class _CountedFamily(_Family):
    """A counter, gauge or histogram of the library, with all its children."""

    def __init__(self, metric: Counter | Gauge | Histogram) -> None:
        super().__init__(metric.describe()[0])  # type: ignore[index]
        self._metric: Any = metric
        self._is_gauge = isinstance(metric, Gauge)
        self._ordinary = all(map(_CLASSIC_NAME.match, (metric._name, *metric._labelnames)))
        self._children = list[Any]()
        self._texts = list[str]()
        self._cells = list[Any]()
        """Where the library keeps the values of all children."""
        self._owners = list[int]()
        """Of each cell: the number of its child."""
        self._values = list[float]()
        self._as_bytes: bytes | None = None

    def render(self, in_openmetrics: bool) -> list[bytes] | None:
        """The family as it is now; None where the library has to print it."""
        self._look_at_children()
        if not self._ordinary or (self._is_gauge and any(map(_is_function, self._children))):
            return None
        values = [cell._value for cell in self._cells]
        as_bytes = array("d", values).tobytes()
        if as_bytes != self._as_bytes:
            changed: Iterable[int] = range(len(self._children))
            if self._as_bytes is not None:
                rows = zip(self._owners, values, self._values, strict=True)
                changed = {owner for owner, value, old in rows if not _is_same(value, old)}
            for number in changed:
                self._texts[number] = self._render_child(self._children[number])
            self._values, self._as_bytes = values, as_bytes
            self._body = "".join(self._texts).encode()
        return self._parts(in_openmetrics) if self._ordinary else None

    def _look_at_children(self) -> None:
        children = [self._metric]
        if self._metric._is_parent():
            with self._metric._lock:
                children = list(self._metric._metrics.values())
        if children == self._children:
            return
        self._children, self._texts, self._as_bytes = children, [""] * len(children), None
        self._cells, self._owners = [], []
        for number, child in enumerate(children):
            cells = [*child._buckets, child._sum] if hasattr(child, "_buckets") else [child._value]
            self._cells += cells
            self._owners += [number] * len(cells)

    def _render_child(self, child: Any) -> str:
        own = list(zip(self._metric._labelnames, child._labelvalues, strict=True))
        lines = list[str]()
        for suffix, labels, value, timestamp, exemplar, native in child._child_samples():
            self._ordinary &= timestamp is None and exemplar is None and native is None
            names, given = zip(*own, *labels.items(), strict=True) if own or labels else ((), ())
            lines.append(_starter(self._metric._name + suffix, names)(given) + _go(value))
        return "".join(lines)


def _is_function(child: Any) -> bool:
    """Whether a function gives the gauge's value: ``set_function`` replaces this method."""
    return "_child_samples" in vars(child)


def _by_library(metrics: Iterable[Metric], encode: Encoder) -> bytes:
    return encode(_Collected(metrics)).removesuffix(_END)


class _Collected:
    """Metrics in the shape of a registry."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def _starter(name: str, labels: Sequence[str]) -> Callable[[Sequence[str]], str]:
    """Makes the start of a line, all but the value, from the values of its labels."""
    if not labels:
        return lambda values: name + " "
    order = sorted(range(len(labels)), key=lambda place: labels[place])
    pattern = ",".join(f'{labels[place]}="%s"' for place in order)

    def start(values: Sequence[str]) -> str:
        escaped = tuple([values[place].translate(_ESCAPED) for place in order])
        return f"{name}{{{pattern % escaped}}} "

    return start


def _is_same(value: float, old: float) -> bool:
    """Whether both print the same: 0.0 and -0.0 are equal and do not; NaN may be printed again."""
    return value is old or (value == old and value != 0)


class _Printed(dict[float, str]):
    """Prints each value once: the ages of bars that ended together are the same."""

    def __missing__(self, value: float) -> str:
        text = _go(value)
        if value != 0:  # 0.0 and -0.0 are the same key
            self[value] = text
        return text


def _go(value: float) -> str:
    """The end of a line: the value as Go prints it."""
    if -_GO_EXPONENT < value < _GO_EXPONENT:
        return f"{float(value)!r}\n"
    return f"{floatToGoString(value)}\n"  # type: ignore[no-untyped-call]
