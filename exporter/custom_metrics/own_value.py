"""One value of a user's metric, and the one parser of it: for tasks, requests and programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from exporter.util.metric_names import problem_of_label_name, problem_of_metric_name

Kind = Literal["gauge", "counter", "histogram", "summary", "unknown"]
Reason = Literal["name", "labels", "value", "type", "names", "series"]
"""Why a value is refused; the last two: there are too many."""

MOST_LABELS = 8
LABEL_CHARS = 128
LARGEST = 1e300


class RefusedValueError(ValueError):
    """The value is not taken; the text says what is wrong with it."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class OwnValue:
    """What somebody says a metric is; `value` None: forget the series."""

    name: str
    """Of a counter without `_total`."""
    value: float | None
    labels: tuple[tuple[str, str], ...] = ()
    """Sorted by name."""
    kind: Kind = "gauge"
    add: bool = False
    """A counter goes up by `value`."""
    at: float | None = None
    """When it was so, Unix seconds; None: now."""

    @classmethod
    def of(
        cls,
        name: Any,
        value: Any,
        labels: Mapping[Any, Any],
        *,
        kind: Kind = "gauge",
        add: bool = False,
        at: float | None = None,
    ) -> OwnValue:
        """Checked. Raises :class:`RefusedValueError`."""
        if problem := problem_of_metric_name(name):
            raise RefusedValueError("name", problem)
        number = None if value is None else _number(name, value)
        if kind == "counter":
            name = name.removesuffix("_total")
            if number is not None and not 0 <= number <= LARGEST:
                raise RefusedValueError("value", f"{name}: a counter cannot be {value!r}")
        return cls(name, number, _labels(name, labels), kind, add, at)


def _number(name: str, value: Any) -> float:
    """NaN says that it is not known, and infinity may be one's limit: Prometheus has both."""
    if type(value).__name__ in ("bool", "bool_"):
        return float(value)
    if isinstance(value, str):
        try:
            return {"nan": math.nan, "+inf": math.inf, "inf": math.inf, "-inf": -math.inf}[
                value.lower()
            ]
        except KeyError:
            raise RefusedValueError(
                "value", f'{name}: value must be a number, "NaN", "+Inf" or "-Inf", not a text'
            ) from None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        kind = type(value).__name__
        raise RefusedValueError("value", f"{name}: value must be a number, not a {kind}") from None


def _labels(name: str, labels: Mapping[Any, Any]) -> tuple[tuple[str, str], ...]:
    if len(labels) > MOST_LABELS:
        raise RefusedValueError("labels", f"{name}: {len(labels)} labels; at most {MOST_LABELS}")
    found = []
    for label, value in labels.items():
        if problem := problem_of_label_name(label):
            raise RefusedValueError("labels", f"{name}: {problem}")
        text = str(value)
        if len(text) > LABEL_CHARS:
            raise RefusedValueError(
                "labels",
                f"{name}: the label {label} has {len(text)} characters; at most {LABEL_CHARS}",
            )
        found.append((label, text.encode("utf-8", "backslashreplace").decode()))
    return tuple(sorted(found))
