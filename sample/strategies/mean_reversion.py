"""Mean reversion, to try out: buy what has fallen far. Not advice; copy it and change it."""

import numpy as np
import pandas as pd


def positions(bars, window=30, enter=1.5, leave=0.0):
    """Buy when the close is `enter` standard deviations below the mean of the last `window` bars,
    and sell when it is back at `leave` of them below."""
    close = bars["close"]
    distance = (close - close.rolling(window).mean()) / close.rolling(window).std()
    target = pd.Series(np.nan, index=bars.index)  # NaN: as before
    target[distance > -leave] = 0.0
    target[distance < -enter] = 1.0
    return target
