"""From equity to drawdown and its limits."""
