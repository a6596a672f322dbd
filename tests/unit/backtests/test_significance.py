"""Sharpe ratios against luck."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from exporter.backtests.significance import (
    deflate,
    deflated_sharpe,
    expected_best,
    walk_forward,
)
from exporter.backtests.unit import compute
from tests.unit.backtests.bars import group, random_bars


def test_the_example_of_the_paper() -> None:
    """Page 9 of Bailey and López de Prado: an annual Sharpe ratio of 2.5 from 100 trials with a
    variance of 1/2, five years of days, skewness -3 and kurtosis 10, is deflated to 0.9004."""
    root = math.sqrt(250)
    rng = np.random.default_rng(1).normal(size=100)
    trials = (rng - rng.mean()) / rng.std(ddof=1) * math.sqrt(0.5) / root
    expected = expected_best(trials.tolist())
    assert expected == pytest.approx(0.1132, abs=1e-4)
    found = deflated_sharpe(2.5 / root, expected, periods=1250, skew=-3, kurtosis=10)
    assert found == pytest.approx(0.9004, abs=1e-4)


def test_the_best_of_many_worthless_sets_is_what_was_expected() -> None:
    """By trying it: 200 sets of noise, many times."""
    rng = np.random.default_rng(2)
    draws = rng.normal(size=(400, 200))
    best = draws.max(axis=1).mean()
    assert np.mean([expected_best(row.tolist()) for row in draws]) == pytest.approx(best, rel=0.02)


def test_more_sets_make_the_same_ratio_worth_less() -> None:
    """One set alone is compared with 0."""
    numbers = {"bars": 500.0, "skew": 0.0, "kurtosis": 3.0, "periods_per_year": 252.0}
    tried = [{**numbers, "sharpe": value} for value in (1.5, 0.2, -0.7, 0.4, -1.1)]
    assert deflate(tried[:1], 0) > 0.95
    assert deflate(tried, 0) < deflate(tried[:1], 0)


def test_what_is_not_known_is_not_a_number() -> None:
    """No trade, no variance, no opinion."""
    assert math.isnan(deflate([{"sharpe": math.nan, "bars": 10.0}], 0))
    assert math.isnan(deflated_sharpe(5, 0, periods=9, skew=9, kurtosis=1))


def test_a_walk_forward_earns_what_was_chosen_before() -> None:
    """The set that shone in the first part is held in the second, however it does there."""
    tried = [
        ({"n": 1}, {"part_0_sharpe": 3.0, "part_1_sharpe": -1.0, "part_1_return": -0.1,
                    "part_2_return": 0.9}),
        ({"n": 2}, {"part_0_sharpe": 1.0, "part_1_sharpe": 2.0, "part_1_return": 0.5,
                    "part_2_return": 0.2}),
    ]  # fmt: skip
    found = walk_forward(tried, 3)
    assert found.chosen == [{"n": 1}, {"n": 2}]
    assert found.returns == [-0.1, 0.2]
    assert found.total == pytest.approx(0.9 * 1.2 - 1)


def test_the_parts_of_a_unit_make_up_its_return(tmp_path: Path) -> None:
    """However many there are."""
    code = "def f(bars, n=3):\n    return (bars.close > bars.close.shift(n)).astype(float)\n"
    work = group(tmp_path, code, random_bars(301), name="parts", parts=4)
    (result,) = compute(work)
    made = math.prod(1 + result.numbers[f"part_{n}_return"] for n in range(4)) - 1
    assert made == pytest.approx(result.numbers["return"])
