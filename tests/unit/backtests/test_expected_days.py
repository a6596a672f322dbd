"""Daily returns of a backtest, from its curves."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from exporter.backtests.expected_days import expected_days, from_json
from exporter.backtests.result_store import StoredResult
from exporter.config.backtests import BacktestedStrategy

ZONE = ZoneInfo("America/New_York")
HOUR, DAY = 3600.0, 86400.0
FIRST = 1_790_514_000.0
"""2026-09-27 09:00 in New York."""
SETTINGS = BacktestedStrategy(
    run="m:f", symbols=("A", "B"), interval="1h", exchange="24/7", params={"n": 4}
)


def result(symbol: str, daily: list[float], *, made_at: float = 7.0, **params: Any) -> StoredResult:
    """Six bars a day; what the day brings comes with the last one."""
    starts, values, equity = [], [], 1000.0
    for day, change in enumerate([0.0, *daily]):
        for bar in range(6):
            if bar == 5:
                equity *= 1 + change
            starts.append(FIRST + day * DAY + bar * HOUR)
            values.append(equity)
    return StoredResult(
        "s", symbol, params or {"n": 4}, True, {}, None, "", made_at, (starts, values), []
    )


def test_symbols_count_in_equal_parts_day_by_day() -> None:
    """A day on which one of them has no bars is the day of the others."""
    a, b = [0.01, -0.02, 0.005] * 12, [0.02, 0.01, 0.0] * 11
    found = expected_days([result("A", a), result("B", b, made_at=3.0)], SETTINGS, ZONE)
    both = [(x + y) / 2 for x, y in zip(a, b, strict=False)] + a[33:]
    assert found is not None
    assert found.mean == pytest.approx(statistics.fmean(both))
    assert found.deviation == pytest.approx(statistics.stdev(both))
    assert (found.count, found.at) == (36, 3.0)
    assert from_json(found.to_json(SETTINGS), SETTINGS) == found


def test_what_is_not_of_the_configured_parameters_and_symbols_is_not_compared_with() -> None:
    """Nor is a curve that is too short, or one of weeks."""
    good = [0.01, -0.01] * 20
    both = [result("A", good), result("B", good)]
    assert expected_days(both, SETTINGS, ZONE)
    assert expected_days(both[:1], SETTINGS, ZONE) is None
    assert expected_days([both[0], result("B", good, n=5)], SETTINGS, ZONE) is None
    assert expected_days([both[0], replace(both[1], curve=None)], SETTINGS, ZONE) is None
    assert expected_days([result(s, good[:29]) for s in "AB"], SETTINGS, ZONE) is None
    weekly = SETTINGS.model_copy(update={"interval": "1w"})
    assert expected_days(both, weekly, ZONE) is None
    found = expected_days(both, SETTINGS, ZONE)
    assert found
    other = SETTINGS.model_copy(update={"params": {"n": 5}})
    assert from_json(found.to_json(SETTINGS), other) is None
    assert from_json(found.to_json(SETTINGS) | {"count": "many"}, SETTINGS) is None


def test_an_account_that_lost_everything_ends_its_days() -> None:
    """There is no return on nothing."""
    days = [0.01] * 30 + [-1.0, 0.5, 0.5]
    settings = SETTINGS.model_copy(update={"symbols": ("A",)})
    found = expected_days([result("A", days)], settings, ZONE)
    assert found is not None
    assert found.count == 31
