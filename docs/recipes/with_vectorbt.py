"""A strategy of vectorbt (pip install vectorbt) as one of `backtests:`.

run: "with_vectorbt:run"
"""

import vectorbt as vbt


def run(bars, fast=10, slow=30, capital=10_000, costs=0.0005):
    """vectorbt trades at the price of the bar that it is given, so signals are moved one bar on."""
    quick = bars["close"].rolling(fast).mean()
    calm = bars["close"].rolling(slow).mean()
    above = (quick > calm).shift(1, fill_value=False)
    made = vbt.Portfolio.from_signals(
        bars["close"],
        entries=above,
        exits=~above,
        price=bars["open"],
        init_cash=capital,
        fees=costs,
    )
    return {
        "equity": made.value(),
        "profits": made.trades.closed.pnl.values,
        "positions": made.assets() > 0,
    }
