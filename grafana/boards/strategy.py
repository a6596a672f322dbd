"""One strategy: what it earns, what it holds, and how far it is from its limits."""

from __future__ import annotations

from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import Back, Choice, board
from grafana.boards.limits import STATES as LIMIT_STATES
from grafana.boards.limits import all_limits
from grafana.boards.limits import state as limit_state
from grafana.boards.strategies import (
    AGE_SHARE,
    CHOSEN,
    DRAWDOWN,
    DRAWDOWN_LIMIT,
    POSITION_COLUMNS,
    POSITIONS_TEXT,
    positions,
)
from grafana.colours import BAD, FINE, IDLE, NOTE, WARN
from grafana.panels import Tile, graph, sheet, steps, tiles, timeline
from grafana.query import lowest_limit, moments, near, newest, now, or_band, or_word, rows, series

NO_EQUITY = "no equity was reported"
NO_STRATEGY = "no strategy of this name is configured"
SHARE = (
    f"max(max by (job, instance, strategy) (quant_strategy_drawdown_ratio{CHOSEN} >= 0)"
    " / on (job, instance, strategy) "
    f"{lowest_limit('quant_strategy_drawdown_limit_ratio', 'strategy')})"
)


def build() -> Dashboard:
    """The board of one strategy."""
    return board(
        "strategy",
        "Quant: one strategy",
        "What a strategy earns and holds, and how far it is from its limits.",
        [*_now(), *_money(), *_held(), *_rest()],
        choices=[Choice("strategy", "quant_strategy_info{@}", one=True)],
        back=Back("strategies", "All strategies"),
        hours="now-7d",
    )


def _now() -> list[tuple[int, int, object]]:
    none = {-1: ("unknown", IDLE)}
    profit = steps((None, BAD), (0, FINE))
    sums = [
        # -1 would be a loss of 1.
        Tile(name, now(f"sum({metric}{CHOSEN}) or vector(NaN)", name), {None: ("none yet", IDLE)},
             decimals=2, thresholds=profit)
        for name, metric in (
            ("Today", "quant_strategy_pnl_today"), ("This week", "quant_strategy_pnl_week"),
            ("This month", "quant_strategy_pnl_month"),
        )
    ]  # fmt: skip
    return [
        (24, 4, tiles(
            "Now", "In the strategy's own currency; profit and loss without deposits and "
            "withdrawals. Drawdown as a share of the first limit: at 100% it alerts.",
            Tile("Equity", now(or_word(f"sum(quant_strategy_equity{CHOSEN})", -1), "Equity"),
                 {-1: ("none yet", IDLE)}, decimals=2),
            *sums,
            Tile("Drawdown / limit", now(or_word(SHARE, -1), "Drawdown / limit"),
                 {-1: ("no limit", IDLE)}, unit="percentunit",
                 thresholds=steps((None, FINE), (0.8, WARN), (1, BAD))),
            Tile("Equity is of",
                 now(newest("quant_strategy_last_update_timestamp_seconds", CHOSEN),
                     "Equity is of"), {-1: ("never", IDLE)}, unit="dateTimeFromNow"),
            Tile("Exposure",
                 now(or_word(f"max(quant_strategy_exposure_ratio{CHOSEN} >= 0)", -1), "Exposure"),
                 none, unit="percentunit"),
            nothing=NO_STRATEGY)),
    ]  # fmt: skip


def _money() -> list[tuple[int, int, object]]:
    return [
        (12, 9, graph(
            "Equity", "Newest equity and its peak (moved by deposits and withdrawals).",
            series(f"max by (currency) (quant_strategy_equity{CHOSEN} * on (job, instance, "
                   "strategy) group_left (currency) quant_strategy_info{@})",
                   "equity {{currency}}"),
            series(f"max by (strategy) (quant_strategy_equity_peak{CHOSEN})", "peak"),
            unit="none", colours={"equity": NOTE, "peak": IDLE}, nothing=NO_EQUITY)),
        (12, 9, graph(
            "Drawdown", "(peak - equity) / peak; a dashed line is a limit that is near.",
            series(DRAWDOWN, "drawdown"),
            series(near(DRAWDOWN_LIMIT, DRAWDOWN, "strategy"), "limit {{severity}}"),
            unit="percentunit", limits="^limit .*", colours={"drawdown": NOTE},
            calcs=("lastNotNull", "max"), nothing=NO_EQUITY)),
        (12, 9, graph(
            "Profit and loss today", "Change of equity since midnight (of its exchange, if it has "
            "one), deposits and withdrawals taken out.",
            series(f"max by (strategy) (quant_strategy_pnl_today{CHOSEN})", "today"),
            unit="none", colours={"today": NOTE}, calcs=("min", "lastNotNull"),
            lowest_first=True,
            nothing=NO_EQUITY)),
        (12, 9, graph(
            "Below its peak", "How long equity has been below its highest value; 0 at the peak.",
            series(f"max by (strategy) (quant_strategy_under_water_seconds{CHOSEN})", "below"),
            unit="dtdhms", zero=True, colours={"below": NOTE}, calcs=("lastNotNull", "max"),
            nothing=NO_EQUITY)),
        (24, 5, timeline(
            "State of its limits", "One band for each limit. Acted: until it is resumed by hand.",
            series(or_band(limit_state(CHOSEN), "limit"), "{{limit}}"), states=LIMIT_STATES,
            nothing="this strategy has no limit under limits")),
        (24, 7, all_limits(CHOSEN, "Its limits")),
    ]  # fmt: skip


def _held() -> list[tuple[int, int, object]]:
    return [
        (12, 8, sheet(
            "Positions", POSITIONS_TEXT,
            *positions(),
            columns={"symbol": "Symbol", **POSITION_COLUMNS},
            units=dict.fromkeys(POSITION_COLUMNS.values(), "string"),
            marked={"Difference": WARN}, sort="Symbol",
            nothing="no position was reported")),
        (12, 8, sheet(
            "Newest fills", "The newest fill of each symbol and side.",
            moments("quant_strategy_last_fill_timestamp_seconds", "symbol, side", chosen=CHOSEN,
                    name="A"),
            rows(f"max by (symbol, side) (quant_strategy_last_fill_price{CHOSEN})", name="B"),
            columns={"symbol": "Symbol", "side": "Side", "Value #A": "When", "Value #B": "Price"},
            units={"When": "dateTimeFromNow", "Price": "string"}, sort="When", descending=True,
            nothing="no fill was reported")),
    ]  # fmt: skip


def _rest() -> list[tuple[int, int, object]]:
    def by_window(what: str, known: str, name: str) -> Dataquery:
        return rows(f"max by (window) (quant_strategy_{what}_ratio{CHOSEN}){known}", name=name)

    def by_symbol(what: str, name: str) -> Dataquery:
        return rows(f"max by (symbol) (quant_backtest_{what}_ratio{CHOSEN})", name=name)

    return [
        (12, 7, sheet(
            "Performance", "Of the days of each window, deposits and withdrawals taken out. "
            "Volatility and Sharpe ratio are annualised and need 10 days.",
            by_window("return", "", "A"),
            by_window("volatility", " >= 0", "B"),
            by_window("sharpe", " > -Inf", "C"),
            by_window("win", " >= 0", "D"),
            columns={"window": "Window", "Value #A": "Return", "Value #B": "Volatility",
                     "Value #C": "Sharpe", "Value #D": "Days with a gain"},
            units={"Return": "percentunit", "Volatility": "percentunit",
                   "Days with a gain": "percentunit"},
            decimals={"Sharpe": 2}, sort="Window", nothing=NO_EQUITY)),
        (12, 7, sheet(
            "Backtests", "Its newest backtest for each symbol, to compare with what it earns.",
            by_symbol("return", "A"),
            by_symbol("sharpe", "B"),
            by_symbol("worst_drawdown", "C"),
            moments("quant_backtest_last_success_timestamp_seconds", "symbol", chosen=CHOSEN,
                    name="D"),
            columns={"symbol": "Symbol", "Value #A": "Return", "Value #B": "Sharpe",
                     "Value #C": "Worst drawdown", "Value #D": "When"},
            units={"Return": "percentunit", "Worst drawdown": "percentunit",
                   "When": "dateTimeFromNow"},
            decimals={"Sharpe": 2}, sort="Symbol", nothing="no backtest ran yet")),
        (24, 7, graph(
            "Age of the equity / limit", "Time since the newest equity as a share of max_age; at "
            "100% it alerts. With an exchange it is that one's trading time.",
            series(AGE_SHARE, "age"), unit="percentunit", zero=True, share=True,
            colours={"age": NOTE}, calcs=("lastNotNull", "max"),
            nothing="this strategy has no max_age")),
    ]  # fmt: skip
