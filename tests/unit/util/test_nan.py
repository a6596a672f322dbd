"""NaN inside, None outside."""

from __future__ import annotations

import math

from exporter.util.nan import json_safe, nan_to_none, none_to_nan


def test_a_number_that_is_not_known_is_none_and_back() -> None:
    """Zero is known."""
    assert nan_to_none(math.nan) is None
    assert nan_to_none(0.0) == 0.0
    assert math.isnan(none_to_nan(None))
    assert none_to_nan(3) == 3.0


def test_json_gets_null_for_what_it_cannot_hold() -> None:
    """At every depth; texts, whole numbers and truth values stay."""
    data = {"a": [math.nan, (1, math.inf)], "b": {"c": -math.inf, "d": "nan"}, "e": True, "f": 2.5}
    assert json_safe(data) == {
        "a": [None, [1, None]], "b": {"c": None, "d": "nan"}, "e": True, "f": 2.5,
    }  # fmt: skip
