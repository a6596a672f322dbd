"""A recorded day of a realistic installation as OpenMetrics: New York's half day after
Thanksgiving, a source that hangs for 40 minutes, a failing task, a loss of 7 %, a restart.

It was recorded by an earlier version: what the boards ask for today and it does not have, is made
to fit its story.
"""

from __future__ import annotations

import lzma
import math
from collections.abc import Iterator
from pathlib import Path

FILE = Path(__file__).parents[2] / "shared" / "data" / "boards-day.om.xz"
MINUTE, HOUR, DAY = 60, 3600, 86_400
BEGAN = 1_795_755_600
"""Midnight in New York on 2026-11-27, in Unix seconds."""
NAN = math.nan
EXPORTER = 'job="quant-exporter",instance="localhost:10077"'

Series = tuple[str, str, float]
"""Name, labels without those of the exporter, value."""


def write(path: Path, days_later: int = 0, *, firing: bool = False, every: int = MINUTE) -> int:
    """Write the day as OpenMetrics, `days_later` than it was; returns its last moment.

    With `firing` it has ALERTS as well, for who has no rules evaluated over it. It has a sample a
    minute; more often (`every` so many seconds) the same value comes again."""
    later, newest = days_later * DAY, 0
    again = range(0, MINUTE, every)
    with lzma.open(FILE, "rt") as recorded, path.open("w") as written:
        for line in recorded:
            if line.startswith("#"):
                continue
            labelled, value, moment = line.rsplit(" ", 2)
            at = int(float(moment)) + later
            newest = max(newest, at)
            name = labelled.partition("{")[0]
            if "timestamp_seconds" in name:
                value = repr(float(value) + later)
            if name == "process_start_time_seconds":
                # It was recorded on simulated time; the restart was at 12:55.
                restarted = BEGAN + later + 46_500
                value = repr(float(restarted if at >= restarted else BEGAN + later - 2 * DAY))
            if name == "quant_alert_notifications_total":
                continue
            if name == "quant_task_info":
                labelled = _as_today(labelled)
            if name == "quant_strategy_info" and 'strategy="grid"' in labelled:
                labelled = labelled.replace('currency="USD"', 'currency="EUR"')
            written.writelines(f"{labelled} {value} {at + after}\n" for after in again)
            if name == "quant_task_last_failure_timestamp_seconds" and value != "nan":
                failure = _failure(labelled, float(value))
                written.writelines(f"{failure} 1 {at + after}\n" for after in again)
        for moment in range(BEGAN + later, newest + 1, MINUTE):
            made = _made(moment, BEGAN + later)
            alerts = _firing((moment - BEGAN - later) / HOUR) if firing else ()
            for name, labels, value in (*made, *alerts):
                shown = ",".join(filter(None, [EXPORTER, labels]))
                series = f"{name}{{{shown}}}"
                written.writelines(f"{series} {value} {moment + after}\n" for after in again)
        written.write("# EOF\n")
    return newest


SCHEDULES = {
    "afternoon": ("command", "15:30"),
    "broker_sync": ("external", "06:30"),
    "end_of_day_report": ("run", "close +30m"),
    "health_check": ("run", "every 30m"),
    "hello": ("command", "every 1h"),
    "key_check": ("run", "06:00"),
    "log_review": ("run", "23:59"),
    "pre_market_scan": ("run", "open -2h30m"),
    "rebalance": ("command", "close -15m"),
    "signals": ("run", "every 5m"),
    "tokyo_signals": ("run", "open +5m"),
}


def _task_of(labelled: str) -> str:
    return labelled.partition('task="')[2].partition('"')[0]


def _as_today(labelled: str) -> str:
    kind, schedule = SCHEDULES[_task_of(labelled)]
    return f'{labelled[:-1]},kind="{kind}",schedule="{schedule}"}}'


def _failure(labelled: str, at: float) -> str:
    task = _task_of(labelled)
    run = f"{task[:4]}-{int(at) % 100_000:05d}"
    text = "ConnectionError: broker.example:443 refused the connection"
    return (
        f'quant_task_last_failure_info{{{EXPORTER},task="{task}",reason="error",'
        f'run_id="{run}",text="{text}"}}'
    )


def _made(at: int, began: int) -> Iterator[Series]:
    hour = (at - began) / HOUR
    yield from _alerting(hour)
    yield from _feeds(at, began, hour)
    yield from _tasks(began, hour)
    yield from _strategies(at, began, hour)
    yield from _limits(at, began, hour)
    yield from _own(at, began, hour)


def _firing(hour: float) -> Iterator[Series]:
    for alert, severity, label, first, last in (
        ("QuantWatchdog", "none", "", 0, 24),
        ("QuantDataOverdue", "critical", 'feed="us_minute"', 10.7, 11.2),
        ("QuantDataOverdue", "critical", 'feed="coins"', 10.7, 11.2),
        ("QuantTaskFailing", "critical", 'task="signals"', 11.6, 12),
        ("QuantDrawdown", "warning", 'strategy="momentum"', 12, 24),
    ):
        if _between(hour, first, last):
            labels = f'alertstate="firing",alertname="{alert}",severity="{severity}"'
            yield "ALERTS", ",".join(filter(None, [labels, label])), 1.0


def _so_far(hour: float, *hours: float) -> float:
    """A counter of what happened at these hours."""
    return float(sum(each <= hour for each in hours))


def _between(hour: float, first: float, last: float) -> bool:
    return first <= hour < last


def _alerting(hour: float) -> Iterator[Series]:
    trouble = _between(hour, 10.7, 13)
    yield "alertmanager_alerts", 'state="active"', 3.0 if trouble else 1.0
    yield "alertmanager_alerts", 'state="suppressed"', float(_between(hour, 12.4, 13))
    yield "alertmanager_silences", 'state="active"', float(_between(hour, 12.4, 13.4))
    yield "alertmanager_notifications_failed_total", 'integration="slack"', _so_far(hour, 11.7)
    for integration, outcome, hours in (
        ("slack", "delivered", (10.7, 11.3, 11.75, 12.1, 12.2)),
        ("slack", "failed", (11.7,)),
        ("pagerduty", "delivered", (10.9, 11.6, 12.1)),
        ("webhook", "delivered", (10.7, 10.9, 11.3, 11.6, 12.1)),
    ):
        labels = f'integration="{integration}",outcome="{outcome}"'
        yield "quant_alert_deliveries_total", labels, _so_far(hour, *hours)
    for severity, status, hours in (
        ("critical", "firing", (10.7, 10.9, 11.6, 12.1)),
        ("critical", "resolved", (11.3, 11.75)),
        ("warning", "firing", (12.1, 12.2)),
        ("warning", "resolved", ()),
    ):
        labels = f'severity="{severity}",status="{status}",receiver="chat"'
        yield "quant_alert_notifications_total", labels, _so_far(hour, *hours)
    for alert, severity, hours in (
        ("QuantDataOverdue", "critical", (10.7, 10.9)),
        ("QuantTaskFailing", "critical", (11.6,)),
        ("QuantDrawdown", "warning", (12.1, 12.2)),
        ("QuantLimit", "critical", (12.1,)),
    ):
        labels = f'alertname="{alert}",severity="{severity}"'
        yield "quant_alert_rule_notifications_total", labels, _so_far(hour, *hours)
    for channel, outcome, hours in (
        ("chat", "sent", (7.1, 13.5)),
        ("chat", "failed", (11.7,)),
        ("mail", "sent", (0.1, 13.6)),
    ):
        labels = f'channel="{channel}",outcome="{outcome}"'
        yield "quant_messages_total", labels, _so_far(hour, *hours)
    yield "quant_log_dropped_total", "", 0.0
    yield "scrape_duration_seconds", "", 0.021 + 0.004 * math.sin(hour)
    yield "scrape_samples_post_metric_relabeling", "", 1214.0


def _feeds(at: int, began: int, hour: float) -> Iterator[Series]:
    hangs = _between(hour, 10.5, 11.17)
    since = began + 10.5 * HOUR if hangs else NAN
    yield "quant_source_out_since_timestamp_seconds", 'source="market"', since
    taken_over = began + 10.55 * HOUR if _between(hour, 10.55, 11.25) else NAN
    labels = 'feed="us_minute",source="second"'
    yield "quant_feed_fallback_since_timestamp_seconds", labels, taken_over
    for symbol in ("NVDA.US", "SPY.US", "TSLA.US"):
        labels = f'feed="us_minute",symbol="{symbol}"'
        halted = symbol == "TSLA.US" and _between(hour, 9.8, 10.1)
        yield "quant_data_halted", labels, float(halted)
        yield "quant_data_ignored", labels, 0.0
        yield "quant_data_unchanged_bars", labels, float(at // MINUTE % 3)
    for place, symbol in enumerate(("BTCUSDT", "ETHUSDT")):
        silence = (hour - 10.5) * HOUR if hangs else float((at // MINUTE * (7 + place)) % 23)
        labels = f'feed="coins",symbol="{symbol}"'
        yield "quant_stream_silence_seconds", labels, silence
    for severity, limit in (("warning", 60.0), ("critical", 1800.0)):
        labels = f'feed="coins",severity="{severity}"'
        yield "quant_feed_silence_limit_seconds", labels, limit


def _tasks(began: int, hour: float) -> Iterator[Series]:
    trading = _between(hour, 9.5, 13)
    yield "quant_task_memory_bytes", 'task="signals"', 84e6 if trading else 0.0
    yield "quant_task_duration_limit_seconds", 'task="signals",severity="warning"', 90.0
    yield "quant_task_items_limit", 'task="pre_market_scan",severity="warning"', 3.0
    about = 'severity="critical",exchange="",source="",kind="service",schedule="always"'
    yield "quant_task_info", f'task="bot",{about}', 1.0
    down = _between(hour, 8.2, 8.5)
    yield "quant_service_up", 'task="bot"', float(not down)
    yield "quant_service_expected", 'task="bot"', 1.0
    changed = 0.0 if hour < 8.2 else 8.2 if down else 8.5
    yield "quant_service_since_timestamp_seconds", 'task="bot"', began + changed * HOUR
    yield "quant_service_recent_restarts", 'task="bot"', 2.0 * _between(hour, 8.2, 9.2)
    yield "quant_service_restarts_limit", 'task="bot"', 3.0
    running = _between(hour, 6, 6.5)
    done = 36 * (hour - 6) / 0.5 if running else 0.0
    yield "quant_backtest_units", "", 36.0 if running else 0.0
    yield "quant_backtest_units_done", "", float(int(done))
    yield "quant_backtest_units_failed", "", 2.0 if running and done > 20 else 0.0


BACKTESTS = (
    ("momentum", "SPY.US", 0.112, 1.21, 0.064),
    ("momentum", "NVDA.US", 0.187, 0.93, 0.171),
    ("grid", "BTCUSDT", 0.054, 0.71, 0.093),
)


def _strategies(at: int, began: int, hour: float) -> Iterator[Series]:
    for strategy, week, month, below in (("momentum", 1.0, 2.2, 0.2), ("grid", 0.6, 1.4, 3.0)):
        fell = -7100.0 if strategy == "momentum" and hour >= 12 else 0.0
        of = f'strategy="{strategy}"'
        yield (
            "quant_strategy_age_seconds",
            of,
            float(at % (300 if strategy == "momentum" else 3600)),
        )
        yield "quant_strategy_exposure_ratio", of, 0.94 if strategy == "momentum" else 0.35
        yield "quant_strategy_pnl_week", of, 1200 * week + fell
        yield "quant_strategy_pnl_month", of, 1500 * month + fell
        peak = 12.0 if strategy == "momentum" else hour - hour % below
        yield "quant_strategy_under_water_seconds", of, max(0.0, (hour - peak) * HOUR)
        for window, gain, sharpe in (("30d", 0.021, 1.4), ("90d", 0.063, 1.1)):
            labels = f'{of},window="{window}"'
            yield "quant_strategy_return_ratio", labels, gain + fell / 1e5
            yield "quant_strategy_volatility_ratio", labels, 0.14
            yield "quant_strategy_sharpe_ratio", labels, sharpe + 3 * fell / 1e4
            yield "quant_strategy_win_ratio", labels, 0.56
    yield from _portfolio(at, hour)
    for strategy, symbol, gain, sharpe, worst in BACKTESTS:
        labels = f'strategy="{strategy}",symbol="{symbol}"'
        yield "quant_backtest_return_ratio", labels, gain
        yield "quant_backtest_sharpe_ratio", labels, sharpe
        yield "quant_backtest_worst_drawdown_ratio", labels, worst
        yield "quant_backtest_last_success_timestamp_seconds", labels, began + 6.5 * HOUR
    for origin, symbol, quantity in (
        ("strategy", "SPY.US", 120.0), ("alpaca", "SPY.US", 120.0),
        ("strategy", "NVDA.US", -40.0), ("alpaca", "NVDA.US", -65.0 if hour > 11 else -40.0),
    ):  # fmt: skip
        labels = f'strategy="momentum",origin="{origin}",symbol="{symbol}"'
        yield "quant_position_quantity", labels, quantity
    for symbol, side, when, price in (
        ("SPY.US", "buy", 9.6, 681.35), ("NVDA.US", "sell", 10.2, 181.9),
    ):  # fmt: skip
        labels = f'strategy="momentum",symbol="{symbol}",side="{side}"'
        moment = began + when * HOUR if hour >= when else NAN
        yield "quant_strategy_last_fill_timestamp_seconds", labels, moment
        yield "quant_strategy_last_fill_price", labels, price if hour >= when else NAN


def _portfolio(at: int, hour: float) -> Iterator[Series]:
    """Euros have no rate while the source hangs, and the total is not known then."""
    rate = NAN if _between(hour, 10.6, 11.2) else 1.09 + 0.002 * math.sin(hour)
    fell = -7100.0 if hour >= 12 else 0.0
    yield "quant_portfolio_rate", 'currency="EUR"', rate
    yield "quant_portfolio_rate_timestamp_seconds", 'currency="EUR"', float(at - at % MINUTE)
    yield "quant_portfolio_total_equity", 'currency="USD"', 100_000 + fell + 100_400 * rate
    yield "quant_portfolio_total_pnl_today", 'currency="USD"', fell - 80 + 12 * rate
    for currency, equity, gain in (("USD", 100_000 + fell, fell - 80), ("EUR", 100_400.0, 12.0)):
        of = f'currency="{currency}"'
        yield "quant_portfolio_equity", of, equity
        yield "quant_portfolio_pnl_today", of, gain


def _limits(at: int, began: int, hour: float) -> Iterator[Series]:
    loss = 0.071 if hour >= 12 else 0.0
    for limit, measure, subject, value, most, least in (
        ("momentum_stop", "daily_loss", "", loss, (0.02, 0.04), None),
        ("positions", "positions", "", float(2 + at // HOUR % 7), (10.0, 20.0), None),
        ("exposure", "exposure", "", 0.94 if hour > 9.5 else 0.3, None, (0.2, 0.1)),
        ("reconciliation", "position_difference", "NVDA.US", 25.0 if hour > 11 else 0.0,
         (0.0, 100.0), None),
    ):  # fmt: skip
        yield "quant_limit_info", f'limit="{limit}",measure="{measure}",unit=""', 1.0
        of = f'limit="{limit}",strategy="momentum"'
        unknown = limit == "exposure" and _between(hour, 8, 8.5)
        yield "quant_limit_unknown", of, float(unknown)
        yield "quant_limit_value", f'{of},subject="{subject}"', NAN if unknown else value
        yield "quant_limit_value_timestamp_seconds", f'{of},subject="{subject}"', at - 40.0
        for kind, tiers in (("max", most), ("min", least)):
            for severity, bound in zip(("warning", "critical"), tiers or (), strict=False):
                yield f"quant_limit_{kind}", f'{of},severity="{severity}"', bound
    if hour >= 12.1:
        of = 'limit="momentum_stop",strategy="momentum"'
        yield "quant_limit_action_timestamp_seconds", of, began + 12.1 * HOUR
        yield "quant_limit_action_failed", of, 0.0
    of = 'limit="positions",strategy="momentum"'
    yield "quant_limit_age_seconds", of, float(at % 900)
    yield "quant_limit_age_limit_seconds", f'{of},severity="warning"', 7200.0


def _own(at: int, began: int, hour: float) -> Iterator[Series]:
    for strategy, held in (("momentum", 2 + at // HOUR % 7), ("grid", 12 + at // HOUR % 5)):
        of = f'strategy="{strategy}"'
        yield "positions", of, float(held)
        yield "orders_total", of, float(max(0, int((hour - 9.5) * held)))
    yield "exposure", 'strategy="momentum"', 0.94 if hour > 9.5 else 0.3
    yield "quant_custom_series", "", 5.0
    yield "quant_custom_refused_total", 'reason="labels"', _so_far(hour, 9.7, 9.8)
    for metric in ("positions", "orders"):
        yield "quant_custom_oldest_timestamp_seconds", f'metric="{metric}"', at - 120.0
    for file, broken in (("bot.prom", False), ("costs.prom", hour > 9)):
        written = began + 9 * HOUR if broken else at - 25.0
        yield "quant_textfile_timestamp_seconds", f'file="{file}"', written
        yield "quant_textfile_broken", f'file="{file}"', float(broken)
