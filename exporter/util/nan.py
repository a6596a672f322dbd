"""NaN inside is None outside: a number that is not known, in metrics and in JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NAN = math.nan


def nan_to_none(value: float) -> float | None:
    """The number; None for NaN."""
    return None if math.isnan(value) else value


def none_to_nan(value: float | None) -> float:
    """The number; NaN for None."""
    return NAN if value is None else float(value)


def json_safe(data: Any) -> Any:
    """The data with null for every NaN and infinity in it: JSON has neither."""
    if isinstance(data, float) and not math.isfinite(data):
        return None
    if isinstance(data, Mapping):
        return {key: json_safe(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [json_safe(value) for value in data]
    return data
