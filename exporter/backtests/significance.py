"""What a Sharpe ratio is worth once it is known how many sets were tried, and a walk forward.

The deflated Sharpe ratio is that of Bailey and López de Prado, "The Deflated Sharpe Ratio:
Correcting for Selection Bias, Backtest Overfitting and Non-Normality", Journal of Portfolio
Management 2014: the probability that the true Sharpe ratio is above what the best of so many sets
would show by luck.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, variance
from typing import Any

from exporter.util.nan import NAN

_EULER_MASCHERONI = 0.5772156649015329
_NORMAL = NormalDist()


def expected_best(sharpes: Sequence[float], tried: int | None = None) -> float:
    """The Sharpe ratio that the best of so many sets is expected to show although none is worth
    anything, in the unit of `sharpes`; 0 with one set."""
    known = [value for value in sharpes if math.isfinite(value)]
    count = len(known) if tried is None else tried
    if count < 2 or len(known) < 2:
        return 0.0
    return math.sqrt(variance(known)) * (
        (1 - _EULER_MASCHERONI) * _NORMAL.inv_cdf(1 - 1 / count)
        + _EULER_MASCHERONI * _NORMAL.inv_cdf(1 - 1 / (count * math.e))
    )


def deflated_sharpe(
    sharpe: float, expected: float, *, periods: int, skew: float, kurtosis: float
) -> float:
    """Probability, 0 to 1, that the true ratio is above `expected`. Both ratios are those of one
    period, not of a year; `kurtosis` is 3 for a normal distribution. NaN where nothing is known."""
    if not all(map(math.isfinite, (sharpe, expected, skew, kurtosis))) or periods < 2:
        return NAN
    spread = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
    if spread <= 0:
        return NAN
    return _NORMAL.cdf((sharpe - expected) * math.sqrt(periods - 1) / math.sqrt(spread))


def deflate(all_numbers: Sequence[Mapping[str, float]], place: int) -> float:
    """The deflated Sharpe ratio of one set among those that were tried on a symbol."""
    one = all_numbers[place]
    per_year = one.get("periods_per_year", NAN)
    root = math.sqrt(per_year) if per_year > 0 else NAN
    tried = [numbers.get("sharpe", NAN) / root for numbers in all_numbers]
    return deflated_sharpe(
        tried[place],
        expected_best(tried),
        periods=int(one.get("bars", 0)) - 1,
        skew=one.get("skew", NAN),
        kurtosis=one.get("kurtosis", NAN),
    )


@dataclass(frozen=True)
class WalkForward:
    """The set that was best in each part, on the part that follows."""

    returns: list[float]
    """Of each part but the first."""
    chosen: list[Mapping[str, Any]]
    """The parameters that were chosen before it."""

    @property
    def total(self) -> float:
        """All parts together."""
        return math.prod(1 + value for value in self.returns) - 1 if self.returns else NAN


def walk_forward(
    tried: Sequence[tuple[Mapping[str, Any], Mapping[str, float]]], parts: int
) -> WalkForward:
    """Choose by the Sharpe ratio of one part, earn the return of the next. `tried` are parameters
    and numbers, with ``part_N_sharpe`` and ``part_N_return``."""
    returns: list[float] = []
    chosen: list[Mapping[str, Any]] = []
    for part in range(1, parts):
        known = [
            (numbers.get(f"part_{part - 1}_sharpe", NAN), params, numbers)
            for params, numbers in tried
        ]
        known = [one for one in known if math.isfinite(one[0])]
        if not known:
            returns.append(0.0)  # nothing to choose from: stay out
            chosen.append({})
            continue
        _, params, numbers = max(known, key=lambda one: one[0])
        returns.append(numbers.get(f"part_{part}_return", 0.0))
        chosen.append(params)
    return WalkForward(returns, chosen)
