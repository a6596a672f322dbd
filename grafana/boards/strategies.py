"""What the strategies are worth, and how far they are from their limits."""

from __future__ import annotations

from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import Choice, board, cell, link, series_label
from grafana.colours import BAD, IDLE, NOTE, WARN
from grafana.panels import graph, sheet
from grafana.portfolio import portfolio
from grafana.query import lowest_limit, moments, near, rows, series

CHOSEN = '{@, strategy=~"$strategy"}'
DRAWDOWN = f"max by (strategy) (quant_strategy_drawdown_ratio{CHOSEN} >= 0)"
DRAWDOWN_LIMIT = f"max by (strategy, severity) (quant_strategy_drawdown_limit_ratio{CHOSEN})"
ONE = link("strategy", strategy=series_label("strategy"))
ONE_OF_ROW = {"Strategy": link("strategy", strategy=cell("Strategy"))}
AGE_SHARE = (
    f"max by (strategy) (quant_strategy_age_seconds{CHOSEN} / on (job, instance, strategy) "
    f"{lowest_limit('quant_strategy_age_limit_seconds', 'strategy')})"
)

OWN = 'quant_position_quantity{@, strategy=~"$strategy", origin="strategy"}'
ACCOUNT = 'quant_position_quantity{@, strategy=~"$strategy", origin!="strategy"}'
POSITION_COLUMNS = {
    "Value #A": "Strategy says", "Value #B": "Account says", "Value #C": "Difference",
}  # fmt: skip
POSITIONS_TEXT = (
    "What is held by the strategy's own account and by its broker's, short if negative; a symbol "
    "that one of them does not name is one that it does not hold. Difference: what the account "
    "has more, where both have reported."
)


def positions() -> list[Dataquery]:
    """Of each strategy and symbol, as :data:`POSITION_COLUMNS`."""
    by = "strategy, symbol"
    own, account = f"sum by ({by}) ({OWN})", f"sum by ({by}) ({ACCOUNT})"
    both = (
        f"and on (strategy) count by (strategy) ({OWN})"
        f" and on (strategy) count by (strategy) ({ACCOUNT})"
    )
    differs = f"abs(({account} or 0 * {own}) - ({own} or 0 * {account})) > 1e-9"
    more = f"({account} or 0 * {own}) - ({own} or 0 * {account})"
    return [
        rows(own, name="A"),
        rows(account, name="B"),
        rows(f"{more} and ({differs}) {both}", name="C"),
    ]


def build() -> Dashboard:
    """The board of the strategies."""
    return board(
        "strategies",
        "Quant: strategies",
        "Equity, drawdown against its limits, profit of the day, fills and backtests.",
        [
            *portfolio(),
            (12, 10, graph(
                "Equity", "Newest equity and its peak (moved by deposits and withdrawals), each in "
                "the strategy's own currency.",
                series(f"max by (strategy, currency) (quant_strategy_equity{CHOSEN} * on (job, "
                       "instance, strategy) group_left (currency) quant_strategy_info{@})",
                       "{{strategy}} {{currency}}"),
                series(f"max by (strategy) (quant_strategy_equity_peak{CHOSEN} > -Inf)",
                       "peak {{strategy}}"),
                unit="none", leads_to=ONE, nothing="no equity was reported")),
            (12, 10, graph(
                "Drawdown", "(peak - equity) / peak; a dashed line is a limit that is near.",
                series(DRAWDOWN, "{{strategy}}"),
                series(near(DRAWDOWN_LIMIT, DRAWDOWN, "strategy"),
                       "limit {{strategy}} {{severity}}"),
                unit="percentunit", limits="^limit .*", leads_to=ONE,
                calcs=("lastNotNull", "max"), nothing="no equity was reported")),
            (12, 10, graph(
                "Profit and loss today", "Change of equity since midnight, deposits and "
                "withdrawals taken out, in the strategy's own currency.",
                series(f"max by (strategy) (quant_strategy_pnl_today{CHOSEN} > -Inf)",
                       "{{strategy}}"),
                unit="none", calcs=("min", "lastNotNull"), lowest_first=True,
                leads_to=ONE, nothing="no equity was reported")),
            (12, 10, graph(
                "Age of the equity / limit", "Time since the newest equity as a share of the "
                "strategy's max_age: at 100% it alerts.",
                series(AGE_SHARE, "{{strategy}}"),
                unit="percentunit", zero=True, share=True, leads_to=ONE,
                nothing="no strategy with max_age")),
            (12, 8, sheet(
                "Positions", POSITIONS_TEXT,
                *positions(),
                columns={"strategy": "Strategy", "symbol": "Symbol", **POSITION_COLUMNS},
                units=dict.fromkeys(POSITION_COLUMNS.values(), "string"), links=ONE_OF_ROW,
                marked={"Difference": WARN},
                sort="Strategy", nothing="no position was reported")),
            (12, 8, sheet(
                "Newest fills", "The newest fill of each strategy, symbol and side.",
                moments("quant_strategy_last_fill_timestamp_seconds", "strategy, symbol, side",
                        chosen=CHOSEN, name="A"),
                rows("max by (strategy, symbol, side) "
                     f"(quant_strategy_last_fill_price{CHOSEN})", name="B"),
                columns={"strategy": "Strategy", "symbol": "Symbol", "side": "Side",
                         "Value #A": "When", "Value #B": "Price"},
                units={"When": "dateTimeFromNow", "Price": "string"}, sort="When", descending=True,
                links=ONE_OF_ROW, nothing="no fill was reported")),
            (12, 8, sheet(
                "Backtests", "The newest backtest of each strategy and symbol.",
                rows(f"max by (strategy, symbol) (quant_backtest_return_ratio{CHOSEN})", name="A"),
                rows(f"max by (strategy, symbol) (quant_backtest_sharpe_ratio{CHOSEN})", name="B"),
                rows(f"max by (strategy, symbol) (quant_backtest_worst_drawdown_ratio{CHOSEN})",
                     name="C"),
                moments("quant_backtest_last_success_timestamp_seconds", "strategy, symbol",
                        chosen=CHOSEN, name="D"),
                columns={"strategy": "Strategy", "symbol": "Symbol", "Value #A": "Return",
                         "Value #B": "Sharpe", "Value #C": "Worst drawdown", "Value #D": "When"},
                units={"Return": "percentunit", "Worst drawdown": "percentunit",
                       "When": "dateTimeFromNow"},
                decimals={"Sharpe": 2}, widths={"Return": 90, "Sharpe": 90, "When": 130},
                links=ONE_OF_ROW, nothing="no backtest ran yet")),
            (12, 10, graph(
                "Backtests under way", "Strategies times symbols times sets of parameters of the "
                "backtests that run: how many there are, have ended, and failed. 0: none runs.",
                series("sum(quant_backtest_units{@})", "all"),
                series("sum(quant_backtest_units_done{@})", "ended"),
                series("sum(quant_backtest_units_failed{@})", "failed"),
                zero=True, colours={"all": IDLE, "ended": NOTE, "failed": BAD}, calcs=("max",),
                nothing="no backtest ran yet")),
        ],
        choices=[Choice("strategy", "quant_strategy_info{@}")],
        hours="now-7d",
    )  # fmt: skip
