"""One feed: which of its symbols lack bars, and what its source answers."""

from __future__ import annotations

from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import Back, Choice, board
from grafana.boards.data import (
    BOTH,
    CHANGE_TEXT,
    FEED,
    SPREAD,
    SPREAD_LIMIT,
    SPREAD_TOP,
    change,
)
from grafana.colours import BAD, FINE, IDLE, NOTE, WARN
from grafana.panels import Tile, graph, sheet, steps, tiles, timeline
from grafana.query import (
    counted,
    lowest_limit,
    moments,
    near,
    newest,
    now,
    or_band,
    or_word,
    rows,
    series,
)

OVERDUE_SHARE = (
    f"quant_data_overdue_seconds{BOTH} / on (job, instance, feed) group_left () "
    + lowest_limit("quant_feed_overdue_limit_seconds", "feed")
)
SILENCE_SHARE = (
    f"quant_stream_silence_seconds{BOTH} / on (job, instance, feed) group_left () "
    + lowest_limit("quant_feed_silence_limit_seconds", "feed")
)
# The newest of 100 symbols at most, the most overdue first.
SHOWN = f"topk(100, max by (feed, symbol) (quant_data_overdue_seconds{BOTH}))"
NO_FEED = "no feed of this name is configured"


def _by_symbol(metric: str, name: str) -> Dataquery:
    return rows(f"max by (feed, symbol) ({metric}{BOTH}) and {SHOWN}", name=name)


def build() -> Dashboard:
    """The board of one feed."""
    return board(
        "feed",
        "Quant: one feed",
        "Which symbols of a feed lack bars, how late they are, and what its source answers.",
        [*_now(), *_bars(), *_rest()],
        choices=[
            Choice("feed", "quant_feed_info{@}", one=True),
            Choice("symbol", 'quant_data_overdue_seconds{@, feed=~"$feed"}'),
        ],
        back=Back("data", "All feeds"),
    )


def _now() -> list[tuple[int, int, object]]:
    known = f"quant_feed_info{FEED} * on (job, instance, "
    is_open = known + "exchange) group_left () quant_market_open{@}"
    is_out = known + (
        "source) group_left () (quant_source_out_since_timestamp_seconds{@} > bool 0)"
    )
    taken_over = f"quant_feed_fallback_since_timestamp_seconds{FEED} > bool 0"
    missing = or_word(f"sum(quant_feed_missing_bars{FEED})", -1)
    unknown = {-1: ("unknown", IDLE)}
    return [
        (24, 4, tiles(
            "Now", "Overdue: the time since the oldest missing bar was due as a share of the first "
            "limit; at 100% it alerts. The second source is in use after a takeover.",
            Tile("Overdue / limit", now(or_word(f"max({OVERDUE_SHARE})", -1), "Overdue / limit"),
                 {-1: ("no limit", IDLE)}, unit="percentunit",
                 thresholds=steps((None, FINE), (0.5, WARN), (1, BAD))),
            Tile("Missing bars", now(missing, "Missing bars"), unknown,
                 thresholds=steps((None, FINE), (1, WARN))),
            Tile("Newest bar ended",
                 now(newest("quant_data_last_bar_timestamp_seconds", BOTH), "Newest bar ended"),
                 {-1: ("no bar yet", IDLE)}, unit="dateTimeFromNow"),
            Tile("Market", now(or_word(f"max({is_open})", -1), "Market"),
                 {1: ("OPEN", NOTE), 0: ("CLOSED", IDLE), **unknown}),
            Tile("Source", now(or_word(f"max({is_out})", -1), "Source"),
                 {0: ("ANSWERS", FINE), 1: ("OUT", BAD), **unknown}),
            Tile("Source in use", now(or_word(f"max({taken_over})", -1), "Source in use"),
                 {0: ("FIRST", NOTE), 1: ("SECOND", WARN), -1: ("its only one", IDLE)}),
            Tile("Halted symbols",
                 now(or_word(f"sum(quant_data_halted{BOTH})", -1), "Halted symbols"), unknown,
                 thresholds=steps((None, FINE), (1, WARN))),
            nothing=NO_FEED)),
    ]  # fmt: skip


def _bars() -> list[tuple[int, int, object]]:
    by_symbol = f"topk(10, max by (symbol) ({OVERDUE_SHARE}))"
    return [
        (12, 10, graph(
            "Overdue / limit", "Time since the oldest missing bar of each symbol was due, as a "
            "share of the first limit: at 100% it alerts. The 10 latest.",
            series(by_symbol, "{{symbol}}"),
            unit="percentunit", zero=True, share=True, calcs=("lastNotNull", "max"),
            nothing="this feed has no limit")),
        (12, 10, graph(
            "Missing bars", "Bars that are due and missing, all symbols together.",
            series(f"sum by (feed) (quant_feed_missing_bars{FEED})", "missing"),
            zero=True, calcs=("lastNotNull", "max"), nothing=NO_FEED)),
        (24, 9, sheet(
            "Symbols", "The newest of each symbol, the most overdue first; 100 at most. Halted: no "
            "bars, though the source answers and has those of most others.",
            rows(SHOWN, name="A"),
            rows(f"max by (feed, symbol) (quant_data_last_bar_timestamp_seconds{BOTH} > 0) * 1000"
                 f" and {SHOWN}", name="B"),
            _by_symbol("quant_data_close_price", "C"),
            _by_symbol("quant_data_spread_ratio", "D"),
            _by_symbol("quant_data_halted", "E"),
            _by_symbol("quant_data_unchanged_bars", "F"),
            _by_symbol("quant_data_ignored", "G"),
            columns={"symbol": "Symbol", "Value #A": "Overdue", "Value #B": "Newest bar ended",
                     "Value #C": "Close", "Value #D": "Spread", "Value #E": "Halted",
                     "Value #F": "Unchanged bars", "Value #G": "Ignored"},
            units={"Overdue": "dtdhms", "Newest bar ended": "dateTimeFromNow",
                   "Spread": "percentunit", "Close": "string"},
            empty={"Newest bar ended": "no bar yet", "Close": "no bar yet"},
            states={"Halted": {0: ("no", ""), 1: ("yes", WARN)},
                    "Ignored": {0: ("no", ""), 1: ("yes", NOTE)}},
            sort="Overdue", descending=True, nothing=NO_FEED)),
    ]  # fmt: skip


def _rest() -> list[tuple[int, int, object]]:
    def limit(metric: str, severity: str, name: str) -> Dataquery:
        chosen = FEED.replace("}", f', severity="{severity}"}}')
        return rows(f"max by (feed) ({metric}{chosen})", name=name)

    of_its_source = f"quant_feed_info{FEED}"
    failures = counted("quant_fetch_failures_total{@}")
    return [
        (12, 10, graph(
            "Change of the close", CHANGE_TEXT,
            series(change("symbol"), "{{symbol}}"), unit="percentunit", lowest_first=True,
            nothing="no bar yet")),
        (12, 10, graph(
            "Spread", "|ask - bid| / mid of the newest ticker of the chosen symbols, at most 10; a "
            "dashed line is a limit that is near. It means little while the market is closed.",
            series(f"topk(10, max by (feed, symbol) (quant_data_spread_ratio{BOTH}))",
                   "{{symbol}}"),
            series(near(SPREAD_LIMIT, SPREAD, "feed"), "limit {{severity}}"),
            unit="percentunit", zero=True, top=SPREAD_TOP, limits="^limit .*",
            nothing="this feed has no spreads")),
        (12, 10, graph(
            "Silence of the stream / limit", "Trading time since the newest message of each "
            "symbol, as a share of the first limit: at 100% it alerts. The 10 most silent.",
            series(f"topk(10, max by (symbol) ({SILENCE_SHARE}))", "{{symbol}}"),
            unit="percentunit", zero=True, share=True,
            nothing="this feed has no stream with a limit")),
        (12, 10, graph(
            "Failed requests of its source", "Answers that could not be used, by reason, of all "
            "feeds of the source.",
            series("sum by (source, reason) (("
                   f"{failures}) and on (job, instance, source) {of_its_source}) > 0",
                   "{{source}} {{reason}}"),
            zero=True, bars=True, colour=BAD, calcs=("sum",), nothing="no request failed")),
        (24, 4, timeline(
            "Market", "When its exchange is in session.",
            series(or_band("max by (exchange) (quant_market_open{@} and on (job, instance, "
                           f"exchange) quant_feed_info{FEED})", "exchange"), "{{exchange}}"),
            states={1: ("open", NOTE), 0: ("closed", IDLE)}, nothing=NO_FEED)),
        (24, 5, sheet(
            "Settings and limits", "As exporter.yml has them.",
            rows(f"max by (feed, source, interval, exchange, severity) (quant_feed_info{FEED})",
                 name="A"),
            limit("quant_feed_overdue_limit_seconds", "warning", "B"),
            limit("quant_feed_overdue_limit_seconds", "critical", "C"),
            limit("quant_feed_spread_limit_ratio", "warning", "D"),
            limit("quant_feed_spread_limit_ratio", "critical", "E"),
            moments("quant_feed_fallback_since_timestamp_seconds", "feed", chosen=FEED, name="F"),
            columns={"source": "Source", "interval": "Interval",
                     "exchange": "Exchange", "Value #B": "Overdue: warning",
                     "Value #C": "Overdue: critical", "Value #D": "Spread: warning",
                     "Value #E": "Spread: critical", "Value #F": "Second source since"},
            units={"Overdue: warning": "dtdhms", "Overdue: critical": "dtdhms",
                   "Spread: warning": "percentunit", "Spread: critical": "percentunit",
                   "Second source since": "dateTimeFromNow"},
            empty={"Overdue: warning": "no limit", "Overdue: critical": "no limit",
                   "Spread: warning": "no limit", "Spread: critical": "no limit"},
            nothing=NO_FEED)),
    ]  # fmt: skip
