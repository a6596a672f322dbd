"""All strategies together, for the boards that show them."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig

from grafana.colours import BAD, FINE, IDLE, NOTE, WARN
from grafana.panels import State, Tile, graph, sheet, steps, tiles
from grafana.query import NO_SUM, moments, now, rows, series, total

EQUITY = total("quant_portfolio_total_equity", "quant_portfolio_equity")
TODAY = total("quant_portfolio_total_pnl_today", "quant_portfolio_pnl_today")
WORDS: dict[int | None, State] = {NO_SUM: ("no total", IDLE), None: ("UNKNOWN", WARN)}
WHEN_UNKNOWN = (
    "In the currency of `portfolio`, or in that which all of them have; no total: nobody said at "
    "which rates. Unknown: a rate or an equity is missing or too old, which the status page names."
)


def today(leads_to: str = "", colours: ThresholdsConfig | None = None) -> Tile:
    """Profit and loss of all strategies since midnight, green and red or in `colours`."""
    return Tile(
        "Today", now(TODAY, "Today {{currency}}"), WORDS, leads_to, decimals=2, currency=True,
        thresholds=colours or steps((None, BAD), (0, FINE)),
    )  # fmt: skip


def portfolio() -> list[tuple[int, int, object]]:
    """What all strategies are worth, over time, and the rates behind it."""
    return [
        (24, 4, tiles(
            "All strategies", f"Equity, and profit and loss since midnight. {WHEN_UNKNOWN}",
            Tile("Equity", now(EQUITY, "Equity {{currency}}"), WORDS, decimals=2, currency=True,
                 thresholds=steps((None, NOTE))),
            today(), nothing="Prometheus does not answer")),
        (12, 8, graph(
            "Equity of all strategies", "In the currency of `portfolio`. It has a gap while a rate "
            "or an equity is missing or too old: a sum without it would look like a loss.",
            series("sum by (currency) (quant_portfolio_total_equity{@})", "{{currency}}"),
            unit="none", nothing="no `portfolio` is configured")),
        (12, 8, sheet(
            "Rates", "What a unit of each other currency is worth in that of the total, and as of "
            "when. No strategy is added up by a rate that is missing.",
            rows("max by (currency) (quant_portfolio_rate{@})", name="A"),
            moments("quant_portfolio_rate_timestamp_seconds", "currency", name="B"),
            columns={"currency": "Currency", "Value #A": "Rate", "Value #B": "As of"},
            units={"As of": "dateTimeFromNow"}, decimals={"Rate": 5},
            empty={"Rate": "MISSING", "As of": "never"}, sort="Currency",
            nothing="no other currency is configured")),
    ]  # fmt: skip
