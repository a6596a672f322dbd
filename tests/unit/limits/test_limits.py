"""What limits are compared with, and what a scrape shows of them."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.backtests.expected_days import ExpectedDays
from exporter.backtests.published import BacktestResults
from exporter.config import Config, LimitSettings, OwnMetric, Strategy, TextfileSettings
from exporter.config.backtests import BacktestedStrategy, Backtests
from exporter.config.limit_keys import ExpectedReturn
from exporter.custom_metrics.textfiles import PromFile, TextfileFolder
from exporter.limits.actions import Actions
from exporter.limits.limits_service import LimitedParts, LimitService
from exporter.limits.strategy_measures import by_year, daily_loss, decay, whole_sessions
from exporter.messages.outbox import Outbox
from exporter.metrics import Metrics
from exporter.state.ledger import Fill
from exporter.strategies.equity import EquityCurve
from exporter.strategies.equity_point import EquityPoint
from exporter.strategies.tracker import Strategies
from tests.unit.custom_metrics.test_custom_metrics import Desk
from tests.unit.tables import calendar

UTC_ZONE = ZoneInfo("UTC")
NEW_YORK = ZoneInfo("America/New_York")
DAY = 86400.0


def moment(day: int, hour: int, minute: int = 0) -> float:
    """Of November 2026, in UTC; New York trades from 14:30 to 21:00."""
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC).timestamp()


class Limited:
    """The service on real parts."""

    def __init__(self, desk: Desk | None = None, **sections: Any) -> None:
        self.desk = desk or Desk()
        self.desk.restart(**sections.get("metrics", {}))
        self.metrics = next(
            one for one in self.desk.registry._collector_to_names if isinstance(one, Metrics)
        )
        custom, clock, state = self.desk.custom, self.desk.clock, self.desk.state
        self.strategies = Strategies(state, clock, self.metrics, calendar)  # type: ignore[arg-type]
        self.textfiles = TextfileFolder(custom, self.metrics, clock)
        self.backtests = BacktestResults(state, self.metrics, clock)  # type: ignore[arg-type]
        self.service = LimitService(
            state,  # type: ignore[arg-type]
            self.metrics,
            clock,
            LimitedParts(custom, self.textfiles, self.strategies, calendar, self.backtests),
            Actions(
                state,  # type: ignore[arg-type]
                clock,
                Outbox(state, self.metrics, clock),  # type: ignore[arg-type]
                SimpleNamespace(),  # type: ignore[arg-type]
                lambda _: None,
            ),
        )
        config = Config(**{"timezone": "UTC", **sections})
        self.strategies.apply(config)
        self.textfiles.apply(config)
        self.service.apply(config)
        self.backtests.apply(config)

    def value(self, name: str, **labels: str) -> float | None:
        """A sample of the scrape; no strategy and subject unless given."""
        labels = {"strategy": "", **labels}
        if name == "quant_limit_value":
            labels = {"subject": "", **labels}
        return self.desk.value(name, **labels)


def limit(**keys: Any) -> LimitSettings:
    return LimitSettings.model_validate({"max": {"warning": 10, "critical": 20}, **keys})


def test_a_limit_stands_next_to_each_value() -> None:
    """By strategy and subject; limits by strategy and severity."""
    made = Limited(
        metrics={"positions": OwnMetric(labels=("strategy", "symbol"))},
        limits={
            "positions": limit(min={"critical": -1}),
            "own": limit(of="positions", strategies=("b",)),
        },
        strategies={"b": Strategy()},
    )  # fmt: skip
    for strategy, symbol, value in (("a", "X", 3), ("a", "Y", 12), ("b", "X", 5)):
        made.desk.custom.set("positions", value, {"strategy": strategy, "symbol": symbol})
    assert (
        made.value("quant_limit_value", limit="positions", strategy="a", subject="symbol=Y") == 12
    )
    assert made.value("quant_limit_value", limit="own", strategy="b", subject="symbol=X") == 5
    assert made.value("quant_limit_value", limit="own", strategy="a", subject="symbol=X") is None
    assert made.value("quant_limit_max", limit="positions", strategy="b", severity="critical") == 20
    assert made.value("quant_limit_min", limit="positions", strategy="b", severity="critical") == -1
    assert made.value("quant_limit_max", limit="own", strategy="b", severity="warning") == 10
    at = made.desk.value(
        "quant_limit_value_timestamp_seconds", limit="own", strategy="b", subject="symbol=X"
    )
    assert at == made.desk.clock.now()


def test_what_is_nan_is_said() -> None:
    """No comparison would."""
    made = Limited(metrics={"a": OwnMetric()}, limits={"a": limit()})
    made.desk.custom.set("a", 1)
    assert made.value("quant_limit_unknown", limit="a") == 0
    made.desk.custom.set("a", math.nan)
    assert made.value("quant_limit_unknown", limit="a") == 1


def test_a_metric_that_never_came_is_as_old_as_its_config() -> None:
    """And one that nobody sets any more as its oldest series."""
    declared = {"a": OwnMetric(max_age=60.0, severity="critical", labels=("strategy",))}
    made = Limited(metrics=declared)
    made.desk.clock.advance(100)
    assert made.value("quant_limit_age_seconds", limit="a") == 100
    assert made.value("quant_limit_age_limit_seconds", limit="a", severity="critical") == 60
    made.desk.custom.set("a", 1, {"strategy": "x"})
    made.desk.clock.advance(50)
    made.desk.custom.set("a", 1, {"strategy": "y"})
    assert made.value("quant_limit_age_seconds", limit="a") is None
    assert made.value("quant_limit_age_seconds", limit="a", strategy="x") == 50
    assert made.value("quant_limit_age_seconds", limit="a", strategy="y") == 0


def test_a_text_file_that_is_not_written_has_an_age(tmp_path: Any) -> None:
    """Its limit is `max_age` of the folder."""
    made = Limited(textfiles=TextfileSettings(folder=tmp_path, max_age=60.0))
    made.textfiles.files["bot.prom"] = PromFile(mtime=made.desk.clock.now() - 90)
    assert made.value("quant_limit_age_seconds", limit="bot.prom") == 90
    assert made.value("quant_limit_age_limit_seconds", limit="bot.prom", severity="warning") == 60


def curve(*points: tuple[float, float, float], zone: ZoneInfo = UTC_ZONE) -> EquityCurve:
    built = EquityCurve()
    for at, equity, flow in points:
        built = built.add(EquityPoint(at, equity, flow), zone)
    return built


@pytest.mark.parametrize(
    ("points", "loss"),
    [
        ([(23, 1000.0, 0.0), (24, 970.0, 0.0)], 0.03),
        ([(23, 1000.0, 0.0), (24, 1030.0, 0.0)], 0.0),
        ([(23, 1000.0, 0.0), (24, 1940.0, 1000.0)], 0.03),
        ([(23, 1000.0, 0.0), (24, 470.0, -500.0)], 0.03),
        ([(23, 1000.0, 0.0)], 0.0),
    ],
)
def test_the_daily_loss_is_a_share_of_what_was_at_risk(
    points: list[tuple[int, float, float]], loss: float
) -> None:
    """Flows are neither: a deposit of the day was at risk, a withdrawal is not a loss."""
    built = curve(*((moment(day, 12), equity, flow) for day, equity, flow in points))
    assert daily_loss(built, moment(24, 13), UTC_ZONE) == pytest.approx(loss)
    assert math.isnan(daily_loss(EquityCurve(), moment(24, 13), UTC_ZONE))


@given(st.floats(1, 1e9), st.floats(0, 1), st.floats(0, 1e9))
def test_a_daily_loss_is_between_0_and_1(equity: float, kept: float, deposit: float) -> None:
    """Whatever came in."""
    built = curve((moment(23, 12), equity, 0.0), (moment(24, 12), equity * kept + deposit, deposit))
    assert -1e-9 <= daily_loss(built, moment(24, 13), UTC_ZONE) <= 1 + 1e-9


@pytest.mark.parametrize(
    ("since", "now", "count"),
    [
        (moment(24, 21, 5), moment(25, 20, 59), 0),
        (moment(24, 21, 5), moment(25, 21, 0), 1),  # what writes after the close is due now
        (moment(24, 15), moment(24, 23), 0),  # in the session itself
        (moment(25, 21, 5), moment(27, 17, 59), 0),  # over Thanksgiving, before the early close
        (moment(25, 21, 5), moment(27, 18, 0), 1),
        (moment(20, 21, 5), moment(23, 14), 0),  # over a weekend
    ],
)
def test_only_sessions_that_have_closed_count(since: float, now: float, count: int) -> None:
    """By the real calendar."""
    assert whole_sessions(calendar("XNYS"), since, now) == count


def test_decay_is_the_textbook_z() -> None:
    """(mu - mean) / (sigma * sqrt(1/n + 1/m)); NaN for fewer than ten days, or no deviation."""
    returns = [0.01, -0.02, 0.005, -0.01] * 5
    mean, n = sum(returns) / 20, 20
    of_a_year = by_year(ExpectedReturn(annual_return=0.2, annual_volatility=0.25), 252)
    z = (0.2 / 252 - mean) / (0.25 / math.sqrt(252) / math.sqrt(n))
    assert decay(returns, of_a_year) == pytest.approx(z)
    tested = ExpectedDays(0.001, 0.02, 60, 0.0)
    z = (0.001 - mean) / (0.02 * math.sqrt(1 / n + 1 / 60))
    assert decay(returns, tested) == pytest.approx(z)
    assert math.isnan(decay(returns[:9], tested))
    assert math.isnan(decay(returns, ExpectedDays(0.001, 0.0, 60, 0.0)))


class Decaying:
    """A strategy whose live days are compared with its own backtest."""

    settings = BacktestedStrategy(
        run="json:loads", symbols=("A", "B"), interval="1d", exchange="XNYS", params={"n": 4}
    )

    def __init__(self, **limits: Any) -> None:
        self.made = Limited(
            strategies={"m": Strategy(exchange="XNYS")},
            backtests=Backtests(strategies={"m": self.settings}),
            limits={"held": limit(of="decay", **limits)},
        )
        curve, equity = EquityCurve(), 1000.0
        for day in range(30):  # an account is asked at weekends and on Thanksgiving, too
            at = moment(1, 20) + day * DAY
            trades = calendar("XNYS").session_on(datetime.fromtimestamp(at, UTC).date())
            equity *= (1.01 if day % 2 else 0.985) if trades else 1
            curve = curve.add(EquityPoint(at, equity), NEW_YORK)
        self.made.strategies.curves["m"] = curve
        self.made.desk.clock.set(curve.at + 3600)

    def returns(self, until: int) -> list[float]:
        """Of the sessions of November up to that day."""
        days = [n for n in range(1, until) if calendar("XNYS").session_on(date(2026, 11, n))]
        return [0.01 if (n - 1) % 2 else -0.015 for n in days]

    def publish(self, **changed: Any) -> None:
        days = ExpectedDays(0.002, 0.01, 60, 5.0).to_json(self.settings) | changed
        self.made.backtests.newest = {"m|": days}

    def value(self) -> float | None:
        return self.made.value("quant_limit_value", limit="held", strategy="m")

    def is_unknown(self) -> bool:
        return self.made.value("quant_limit_unknown", limit="held", strategy="m") == 1


def test_live_days_are_compared_with_the_newest_backtest_by_sessions() -> None:
    """Weekends are no days without risk, and a day counts once it is over."""
    decaying = Decaying()
    decaying.publish()
    for until, count in ((30, 19), (31, 20)):
        returns = decaying.returns(until)
        assert len(returns) == count
        z = (0.002 - sum(returns) / count) / (0.01 * math.sqrt(1 / count + 1 / 60))
        assert decaying.value() == pytest.approx(z)
        assert not decaying.is_unknown()
        decaying.made.desk.clock.advance(DAY)


def test_a_backtest_of_other_parameters_or_symbols_is_not_compared_with() -> None:
    """Nor one that never was: it is said, and is not equal to no decay."""
    decaying = Decaying()
    for changed in ({"params": {"n": 5}}, {"symbols": ["A"]}, {"mean": None}):
        decaying.publish(**changed)
        assert math.isnan(decaying.value() or 0)
        assert decaying.is_unknown()
    decaying.made.backtests.newest = {}
    assert decaying.is_unknown()
    (why,) = decaying.made.service.unknown(decaying.made.desk.clock.now()).values()
    assert "quant-exporter backtest m" in why
    expecting = Decaying(expected={"annual_return": "20%", "annual_volatility": "20%"})
    assert not expecting.is_unknown()
    mean = sum(expecting.returns(30)) / 19
    z = (0.2 / 252 - mean) / (0.2 / math.sqrt(252) / math.sqrt(19))
    assert expecting.value() == pytest.approx(z)


async def test_what_cannot_be_compared_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """And not at the first look, before anybody was asked; again once it was known in between."""
    decaying = Decaying()

    async def logged(looks: int) -> int:
        for _ in range(looks):
            await decaying.made.service.look()
        return sum("cannot be compared" in record.message for record in caplog.records)

    assert await logged(1) == 0
    assert await logged(3) == 1
    decaying.publish()
    assert await logged(2) == 1
    decaying.made.backtests.newest = {}
    assert await logged(3) == 2


def test_a_day_of_the_exchange_counts_and_not_one_of_the_config() -> None:
    """In Singapore it is tomorrow while New York trades."""
    made = Limited(
        timezone="Asia/Singapore",
        strategies={"m": Strategy(exchange="XNYS")},
        limits={"daily_loss": limit(max={"critical": 0.02})},
    )
    made.strategies.curves["m"] = curve(
        (moment(23, 20), 1000, 0), (moment(24, 19), 970, 0), zone=NEW_YORK
    )
    made.desk.clock.set(moment(24, 20))
    assert made.value("quant_limit_value", limit="daily_loss", strategy="m") == pytest.approx(0.03)


def test_a_strategy_is_silent_by_its_sessions() -> None:
    """Equity and fills, each from the moment it was configured on."""
    sections: dict[str, Any] = {
        "strategies": {"m": Strategy(exchange="XNYS")},
        "limits": {"silent_sessions": limit(), "sessions_without_fill": limit()},
    }
    made = Limited(**sections)
    clock = made.desk.clock
    made.strategies._store.since["m"] = moment(20, 12)
    clock.set(moment(24, 22))
    for name in ("silent_sessions", "sessions_without_fill"):
        assert made.value("quant_limit_value", limit=name, strategy="m") == 3
    made.strategies.curves["m"] = curve((moment(23, 21, 5), 1000, 0))
    made.strategies.holdings.fills["m"] = {
        ("X", "buy"): Fill("X", "buy", moment(24, 15), Decimal(1))
    }
    assert made.value("quant_limit_value", limit="silent_sessions", strategy="m") == 1
    assert made.value("quant_limit_value", limit="sessions_without_fill", strategy="m") == 0


async def test_signals_that_nobody_trades_are_counted_by_session_and_remembered() -> None:
    """A gauge above 0 is a signal, a fill answers all before it, and a restart forgets nothing."""
    sections: dict[str, Any] = {
        "metrics": {"signals": OwnMetric(labels=("strategy",))},
        "strategies": {"m": Strategy(exchange="XNYS")},
        "limits": {"signals_without_fill": limit()},
    }
    made = Limited(**sections)
    clock = made.desk.clock
    for day, count in ((20, 2), (23, 0), (24, 5), (24, 1)):
        clock.set(max(clock.now() + 1, moment(day, 13)))
        made.desk.custom.set("signals", count, {"strategy": "m"})
        await made.service.look()

    def unanswered() -> float | None:
        return made.value("quant_limit_value", limit="signals_without_fill", strategy="m")

    assert unanswered() == 1, "today's session has not closed"
    clock.set(moment(24, 21))
    assert unanswered() == 2
    made = Limited(made.desk, **sections)
    assert unanswered() == 2
    made.strategies.holdings.fills["m"] = {
        ("X", "buy"): Fill("X", "buy", moment(20, 15), Decimal(1))
    }
    assert unanswered() == 1
    made.strategies.holdings.fills["m"] = {
        ("X", "buy"): Fill("X", "buy", moment(24, 15), Decimal(1))
    }
    assert unanswered() == 0
