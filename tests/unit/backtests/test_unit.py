"""One unit: what a function may return, and what is caught."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from exporter.backtests.unit import UnitResult, compute
from tests.unit.backtests.bars import bars, group, random_bars

PAST = "def f(bars, n=3):\n    return (bars.close > bars.close.shift(n)).astype(float)\n"


def one(folder: Path, code: str, count: int = 200, name: str = "") -> UnitResult:
    (result,) = compute(group(folder, code, random_bars(count), name=name or f"m{abs(hash(code))}"))
    return result


def test_a_function_of_the_past_has_numbers_curve_and_trades(tmp_path: Path) -> None:
    """The configured set keeps its curve; others keep their numbers."""
    work = group(tmp_path, PAST, random_bars(300), {"n": 3}, {"n": 9}, name="past")
    first, second = compute(work)
    assert first.error is None
    assert first.curve is not None
    assert len(first.curve[1]) == 300
    assert len(first.trades) == first.numbers["trades"]
    assert second.curve is None
    assert second.numbers["sharpe"] != first.numbers["sharpe"]


@pytest.mark.parametrize("count", [12, 60, 88, 200])
@pytest.mark.parametrize(
    "body",
    [
        "(bars.close.shift(-1) > bars.close).astype(float)",
        "(bars.close.shift(-1) < bars.close).astype(float)",
        "(bars.close.shift(-1) > bars.close * 1.005).astype(float)",
        "(bars.close > bars.close.mean()).astype(float)",
        "(bars.close > bars.close.rolling(5, center=True).mean()).astype(float)",
    ],
    ids=["a rise", "a fall", "a large rise", "the mean of all bars", "a centred mean"],
)
def test_looking_ahead_is_caught(tmp_path: Path, body: str, count: int) -> None:
    """A position that changes once later bars are known makes the unit fail, not rich: whatever the
    bars, for who knows the next one stands otherwise before the largest moves."""
    result = one(tmp_path, f"def f(bars):\n    return {body}\n", count)
    assert result.error is not None
    assert result.error.startswith("looks ahead: the position of the bar of 20")


def test_without_the_check_looking_ahead_would_pay(tmp_path: Path) -> None:
    """So the test above is about something."""
    ahead = "def f(bars, n=0):\n    return (bars.close.shift(-1) > bars.close).astype(float)\n"
    work = group(tmp_path, ahead, random_bars(500), {"n": 0}, {"n": 1}, name="ahead")
    _, unchecked = compute(work)
    assert unchecked.error is None
    assert unchecked.numbers["return"] > 1


def test_nothing_known_keeps_the_position_before(tmp_path: Path) -> None:
    """NaN is no decision; before the first one there is no position."""
    code = (
        "import numpy as np, pandas as pd\n"
        "def f(bars):\n"
        "    t = pd.Series(np.nan, index=bars.index); t.iloc[2] = 1.0; return t\n"
    )
    (result,) = compute(group(tmp_path, code, bars([100, 100, 100, 100, 120]), name="held"))
    assert result.numbers["return"] == pytest.approx(0.2)
    assert result.numbers["exposure"] == pytest.approx(2 / 5)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            "pd.Series(1.0, index=bars.index + pd.Timedelta('1s'))",
            "whose index is not that of `bars`",
        ),
        ("pd.Series(1.0, index=range(1, len(bars) + 1))", "whose index is not that of `bars`"),
        ("pd.Series(dtype=float)", "a Series of 0 positions"),
        ("pd.Series(1.0, index=list(bars.index[:5]) * 2)", "two positions for one bar"),
        ("pd.Series(np.nan, index=bars.index)", "returned NaN for all of the 200 bars"),
    ],
)
def test_positions_that_belong_to_no_bar_are_an_error(
    tmp_path: Path, body: str, error: str
) -> None:
    """They are never read as no position."""
    result = one(tmp_path, f"import numpy as np, pandas as pd\ndef f(bars):\n    return {body}\n")
    assert result.error is not None
    assert error in result.error


def test_a_series_counts_by_place_or_by_bar(tmp_path: Path) -> None:
    """After reset_index() by place; after dropna() by bar."""
    head = "import numpy as np, pandas as pd\ndef f(bars):\n    p = bars.close.rolling(5).mean()\n"
    head += "    p = (bars.close > p).astype(float).where(p.notna())\n"
    plain, placed, dropped = (
        one(tmp_path, f"{head}    return {value}\n")
        for value in ("p", "p.reset_index(drop=True)", "p.dropna()")
    )
    assert plain.error is None
    assert plain.numbers["trades"] > 3
    assert placed.numbers == dropped.numbers == plain.numbers


def test_a_result_of_its_own_is_accepted(tmp_path: Path) -> None:
    """As other libraries make it: equity over time, profits of trades, positions."""
    code = (
        "def f(bars):\n"
        "    return {'equity': 1000 * bars.close / bars.close.iloc[0], 'profits': [5, -2, 1],\n"
        "            'positions': bars.close * 0 + 1}\n"
    )
    (result,) = compute(group(tmp_path, code, bars([100, 110, 99, 121]), name="own"))
    assert result.numbers["return"] == pytest.approx(0.21)
    assert result.numbers["worst_drawdown"] == pytest.approx(0.1)
    assert result.numbers["win_rate"] == pytest.approx(2 / 3)
    assert (result.numbers["trades"], result.numbers["exposure"]) == (3, 1)
    assert math.isnan(result.numbers["turnover"])


OWN = "def f(bars):\n    gain = bars.close.pct_change().fillna(0)\n"


@pytest.mark.parametrize(
    "body",
    [
        "gain.shift(-1).fillna(0).abs()",
        "gain.where(gain > 0, 0)",
        "(bars.close > bars.close.mean()).astype(float).shift(1).fillna(0) * gain",
    ],
)
def test_a_result_of_its_own_that_looks_ahead_is_an_error(tmp_path: Path, body: str) -> None:
    """Its equity changes once later bars are known; but who trades the bar that is over does not
    look ahead, only too late."""
    code = f"{OWN}    return {{'equity': 1000 * (1 + {body}).cumprod()}}\n"
    error = one(tmp_path, code).error
    if "where" in body:
        assert error is None
    else:
        assert error is not None
        assert error.startswith("looks ahead: its equity of 2026-")


def test_an_engine_may_close_what_is_open_at_the_end(tmp_path: Path) -> None:
    """Which costs a little at the last bar, wherever that is."""
    code = (
        f"{OWN}    past = (gain.shift(1) > 0).astype(float) * gain\n"
        "    equity = 1000 * (1 + past).cumprod()\n    equity.iloc[-1] *= 0.9993\n"
        "    return {'equity': equity}\n"
    )
    assert one(tmp_path, code).error is None


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("return None", "returned values of shape ()"),
        ("return 'long'", "returned a str: return a Series of target positions"),
        ("return [1.0]", "returned values of shape (1,) for 200 bars"),
        ("return bars.close * float('inf')", "returned an infinite position"),
        ("return bars.close * 0 - 1e9", "returned a position of 1e+09: return shares of equity"),
        ("return {'profits': []}", "returned a mapping without `equity`"),
        ("return {'equity': bars.close * float('nan')}", "`equity` contains a value that is not"),
        ("return {'equity': bars.close[::-1]}", "`equity` is not in the order of time"),
        ("return {'equity': [1, 2]}", "`equity` has the shape (2,) for 200 bars"),
        ("return {'equity': bars.close[:0]}", "`equity` is empty"),
        (
            "e = bars.close; e.index += 4000 * (e.index[24] - e.index[0]); return {'equity': e}",
            "`equity` is of 2037-09-03T14:20:00Z and later, which is not the time of the bars",
        ),
        ("raise ValueError('no such\\nthing')", "ValueError: no such thing"),
        ("import sys; sys.exit(3)", "called sys.exit(3)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
def test_what_cannot_be_used_is_an_error_in_words(tmp_path: Path, body: str, text: str) -> None:
    """Whatever the function does; the message says what to return instead."""
    result = one(tmp_path, f"def f(bars):\n    {body}\n")
    assert result.error is not None
    assert result.error.startswith(text)


def test_what_a_function_does_to_its_bars_no_other_sees(tmp_path: Path) -> None:
    """Each call gets a copy."""
    code = (
        "def f(bars, n):\n"
        "    found = float(bars.close.iloc[0]); bars['close'] = 0.0\n"
        "    return bars.close * 0 + found / 100\n"
    )
    work = group(tmp_path, code, bars([100.0] * 5), {"n": 1}, {"n": 2}, name="spoils")
    assert [result.error for result in compute(work)] == [None, None]
    assert work.bars.close[0] == 100


def test_bars_without_a_price_are_left_out() -> None:
    """NaN, infinity, zero."""
    table = bars([100.0, np.nan, 102.0, np.inf, 0.0, 105.0], opens=[100.0] * 6)
    assert table.usable().close.tolist() == [100.0, 102.0, 105.0]


def test_equal_bars_alone_have_one_fingerprint() -> None:
    """A corrected price is another fingerprint."""
    table = random_bars(50)
    assert table.fingerprint() == random_bars(50).fingerprint()
    assert table.fingerprint() != table.where(slice(0, 49)).fingerprint()
    changed = random_bars(50)
    changed.volume[3] += 1
    assert table.fingerprint() != changed.fingerprint()
