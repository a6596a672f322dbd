"""The section on limits: what a value may be, and what happens when it is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from exporter.config.types import Limits, Model, Severity, in_order
from exporter.util.units import Amount, Duration, DurationOrZero, Ratio

STRATEGY_MEASURES: Mapping[str, str] = {
    "daily_loss": "ratio",
    "drawdown": "ratio",
    "silent_sessions": "",
    "sessions_without_fill": "",
    "signals_without_fill": "",
    "decay": "",
    "position_difference": "",
    "position_difference_ratio": "ratio",
}
"""What a limit can be on, apart from users' own metrics: measures of a strategy, with units."""
OF_POSITIONS = frozenset(("position_difference", "position_difference_ratio"))
MAY_BE_UNKNOWN = OF_POSITIONS | {"decay"}
"""What nothing else says when it is not known."""
NEED_EXCHANGE = frozenset(("silent_sessions", "sessions_without_fill", "signals_without_fill"))


def _in_reverse(limits: Mapping[Severity, float]) -> Mapping[Severity, float]:
    try:
        in_order({severity: -limit for severity, limit in limits.items()})
    except ValueError as error:
        raise ValueError(str(error).replace("larger", "smaller")) from None
    return limits


class ExpectedReturn(Model):
    """What a backtest says about a year."""

    annual_return: Amount
    annual_volatility: Ratio


class LimitAction(Model):
    """What the exporter does itself, once."""

    pause: tuple[str, ...] = ()
    run: str | None = None
    to: tuple[str, ...] = ()
    """Channels of the message; all of them unless named."""
    wait: DurationOrZero = 60.0
    """How long `run` waits for runs of paused tasks that are under way."""

    @model_validator(mode="after")
    def _does_something(self) -> LimitAction:
        if not self.pause and not self.run:
            raise ValueError("it does nothing: name tasks under `pause`, or one under `run`")
        if self.run in self.pause:
            raise ValueError(f"`run` is {self.run}, which `pause` stops: keep one")
        return self


class LimitSettings(Model):
    """A limit on a user's own metric or on a strategy."""

    of: str = ""
    """The metric or measure; empty: the limit's own name."""
    strategies: tuple[str, ...] = ()
    """Of these alone; empty: of all."""
    max: Limits[Amount] = Field(default_factory=dict)
    min: Annotated[Mapping[Severity, Amount], AfterValidator(_in_reverse)] = Field(
        default_factory=dict
    )
    signals: str = "signals"
    """The user's own metric that counts signals, for `signals_without_fill`."""
    expected: ExpectedReturn | None = None
    """For `decay`; None: what the newest backtest of the strategy says."""
    symbols: Mapping[str, str] = Field(default_factory=dict)
    """For positions: the account's name of a symbol, and the strategy's."""
    max_age: Duration | None = None
    """For positions: those of either side may be so old."""

    on_critical: LimitAction | None = None
    confirmations: int = Field(2, ge=1, le=100)
    """So many values in a row must be over the limit before it acts."""
    confirm_for: DurationOrZero = 60.0
    """And for so long."""
    rearm: Amount | None = None
    """The value must be back at this before it may act again; None: back within the limit."""

    @model_validator(mode="after")
    def _limits_something(self) -> LimitSettings:
        if not self.max and not self.min:
            raise ValueError("no limit given: write `max: {warning: 10, critical: 20}` or `min`")
        if self.on_critical and "critical" not in {*self.max, *self.min}:
            raise ValueError("`on_critical` needs a critical limit under `max` or `min`")
        return self

    def measure(self, name: str) -> str:
        """What it limits; `name` is its own."""
        return self.of or name
