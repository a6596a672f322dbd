"""A strategy of backtesting.py (pip install backtesting) as one of `backtests:`.

run: "with_backtesting_py:run"
"""

import pandas as pd
from backtesting import Backtest, Strategy


class Crossing(Strategy):
    """Long while the fast mean is above the slow one."""

    fast, slow = 10, 30

    def init(self):
        close = pd.Series(self.data.Close)
        self.quick = self.I(lambda: close.rolling(self.fast).mean())
        self.calm = self.I(lambda: close.rolling(self.slow).mean())

    def next(self):
        if self.quick[-1] > self.calm[-1]:
            if not self.position:
                self.buy()
        elif self.position:
            self.position.close()


def run(bars, fast=10, slow=30, capital=1_000_000, costs=0.0005):
    """backtesting.py trades at the next open by itself, in whole units: so with much capital."""
    named = bars.rename(columns=str.capitalize).tz_localize(None)
    test = Backtest(named, Crossing, cash=capital, commission=costs, finalize_trades=True)
    found = test.run(fast=fast, slow=slow)
    return {"equity": found._equity_curve["Equity"], "profits": found._trades["PnL"]}
