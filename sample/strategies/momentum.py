"""Momentum, to try out: hold what has risen. Not advice; copy it and change it."""


def positions(bars, window=40):
    """All in while the price is above that of `window` bars ago, out otherwise.

    `bars` is a DataFrame with open, high, low, close and volume by the bar's start. What is
    returned for a bar is held from the next bar on: 1 is all of the capital, -0.5 half of it sold
    short.
    """
    return (bars["close"] > bars["close"].shift(window)).astype(float)
