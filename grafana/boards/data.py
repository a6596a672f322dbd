"""Whether the bars come, how late, and what the sources answer."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.board import Choice, board, cell, link, series_label
from grafana.colours import BAD, FINE, IDLE, NOTE, WARN
from grafana.panels import graph, sheet, timeline
from grafana.query import events, lowest_limit, moments, near, or_band, rows, series

FEED = '{@, feed=~"$feed"}'
BOTH = '{@, feed=~"$feed", symbol=~"$symbol"}'
ONE_FEED = link("feed", feed=series_label("feed"))
CHANGE_TEXT = (
    "Close of the newest closed bar against that at the beginning of the shown time (where none is "
    "known of then, against the newest), of the 10 chosen symbols that moved most until its end."
)
SPREAD_TOP = 0.0005
"""An axis ends there at least, or its labels would be rounded to one and the same."""
SPREAD = f"max by (feed) (quant_data_spread_ratio{BOTH} >= 0)"
SPREAD_LIMIT = f"max by (feed, severity) (quant_feed_spread_limit_ratio{FEED})"


def change(by: str) -> str:
    """How far the newest closes are from those when the shown time began."""
    close = f"max by ({by}) (quant_data_close_price{BOTH}"
    # What never came is NaN.
    first = f"(({close} @ start()) > -Inf) or {close} @ end()))"
    moved, in_all = f"{close}) / {first} - 1", f"{close} @ end()) / {first} - 1"
    # Where nothing is known at the end, the 10 that are up most at each moment.
    known = f"count({close} @ end()))"
    return f"{moved} and topk(10, abs({in_all})) or topk(10, {moved}) unless on () {known}"


def build() -> Dashboard:
    """The board of the feeds and sources."""
    return board(
        "data",
        "Quant: data",
        "Which bars are missing, how late they are, and how the sources answer.",
        [
            (12, 10, graph(
                "Overdue / limit", "Time since the oldest missing bar was due, worst symbol of "
                "each feed, as a share of its first limit: at 100% it alerts.",
                series("max by (feed) (max by (job, instance, feed) "
                       f"(quant_data_overdue_seconds{BOTH}) / on (job, instance, feed) "
                       f"{lowest_limit('quant_feed_overdue_limit_seconds', 'feed')})", "{{feed}}"),
                unit="percentunit", zero=True, share=True, leads_to=ONE_FEED,
                calcs=("lastNotNull", "max"),
                nothing="no feed with a limit")),
            (12, 10, graph(
                "Missing bars", "Bars that are due and missing, over all symbols of a feed.",
                series(f"sum by (feed) (quant_feed_missing_bars{FEED})", "{{feed}}"),
                zero=True, leads_to=ONE_FEED, calcs=("lastNotNull", "max"),
                nothing="no feed is configured")),
            (24, 9, sheet(
                "Worst symbols", "The 20 symbols with the longest overdue bars.",
                rows(f"topk(20, max by (feed, symbol) (quant_data_overdue_seconds{BOTH}))",
                     name="A"),
                rows("max by (feed, symbol) "
                     f"(quant_data_last_bar_timestamp_seconds{BOTH} > 0) * 1000 and topk(20, "
                     f"max by (feed, symbol) (quant_data_overdue_seconds{BOTH}))", name="B"),
                rows(f"max by (feed, symbol) (quant_data_close_price{BOTH}) and topk(20, "
                     f"max by (feed, symbol) (quant_data_overdue_seconds{BOTH}))", name="C"),
                columns={"symbol": "Symbol", "Value #A": "Overdue", "feed": "Feed",
                         "Value #B": "Newest bar ended", "Value #C": "Close"},
                units={"Overdue": "dtdhms", "Newest bar ended": "dateTimeFromNow",
                       "Close": "string"},
                empty={"Newest bar ended": "no bar yet", "Close": "no bar yet"},
                links={"Feed": link("feed", feed=cell("Feed")),
                       "Symbol": link("feed", feed=cell("Feed"), symbol=cell("Symbol"))},
                sort="Overdue", descending=True, nothing="no feed is configured")),
            (12, 10, graph(
                "Spread", "|ask - bid| / mid of the newest ticker, the widest symbol of each feed; "
                "a dashed line is a limit that is near. It means little while the market is "
                "closed.",
                series(SPREAD, "{{feed}}"),
                series(near(SPREAD_LIMIT, SPREAD, "feed"), "limit {{feed}} {{severity}}"),
                unit="percentunit", zero=True, top=SPREAD_TOP, limits="^limit .*",
                nothing="no feed has spreads")),
            (12, 10, graph(
                "Age", "Wall clock since the newest closed bar ended, the oldest symbol of each "
                "feed. It grows at night and says nothing about health; overdue does.",
                series(f"max by (feed) (quant_data_age_seconds{BOTH})", "{{feed}}"),
                unit="dtdhms", zero=True, nothing="no bar yet")),
            (24, 10, graph(
                "Change of the close", CHANGE_TEXT,
                series(change("feed, symbol"), "{{symbol}} ({{feed}})"),
                unit="percentunit", lowest_first=True, nothing="no bar yet")),
            (24, 5, timeline(
                "Markets", "When each exchange is in session.",
                series(or_band("max by (exchange) (quant_market_open{@})", "exchange"),
                       "{{exchange}}"),
                states={1: ("open", NOTE), 0: ("closed", IDLE)},
                nothing="no exchange is configured")),
            (12, 10, graph(
                "Failed requests", "Answers that could not be used, by reason.",
                series(events("quant_fetch_failures_total{@}", "source, reason"),
                       "{{source}} {{reason}}"),
                zero=True, bars=True, colour=BAD, calcs=("sum",), nothing="no request failed")),
            (12, 10, graph(
                "Requests a minute", "Requests to each source, retries included, and the retries "
                "among them. A source's budget is in exporter.yml.",
                series("60 * sum by (source, endpoint) (rate(quant_fetch_requests_total{@}"
                       "[$__rate_interval]))", "{{source}} {{endpoint}}"),
                series("60 * sum by (source) (rate(quant_fetch_retries_total{@}"
                       "[$__rate_interval]))", "retries {{source}}"),
                unit="none", zero=True, decimals=2, calcs=("mean", "max"),
                nothing="no request yet")),
            (12, 6, sheet(
                "Sources", "Whether it answers, whether prices are simulated, and when the key "
                "expires.",
                rows("max by (source) (quant_source_simulated{@})", name="A"),
                moments("quant_source_key_expiry_timestamp_seconds", "source", name="B"),
                rows("max by (source) (quant_source_out_since_timestamp_seconds{@} > bool 0)",
                     name="C"),
                columns={"source": "Source", "Value #C": "State", "Value #A": "Prices",
                         "Value #B": "Key expires"},
                units={"Key expires": "dateTimeFromNow"}, empty={"Key expires": "never"},
                states={"Prices": {0: ("real", NOTE), 1: ("simulated", WARN)},
                        "State": {0: ("answers", FINE), 1: ("out", BAD)}},
                nothing="no source is configured")),
            (12, 6, sheet(
                "Calendars", "Next open and close, and where the known sessions end.",
                moments("quant_market_next_open_timestamp_seconds", "exchange", name="A"),
                moments("quant_market_next_close_timestamp_seconds", "exchange", name="B"),
                moments("quant_calendar_end_timestamp_seconds", "exchange", name="C"),
                rows("max by (exchange) (quant_market_open{@})", name="D"),
                columns={"exchange": "Exchange", "Value #D": "Now", "Value #A": "Next open",
                         "Value #B": "Next close",
                         "Value #C": "Known until"},
                states={"Now": {1: ("open", NOTE), 0: ("closed", IDLE)}},
                units={"Next open": "dateTimeFromNow", "Next close": "dateTimeFromNow",
                       "Known until": "dateTimeAsIso"},
                widths={"Exchange": 100, "Now": 90, "Known until": 180},
                empty={"Next open": "always open", "Next close": "never",
                       "Known until": "always"},
                nothing="no exchange is configured")),
        ],
        choices=[
            Choice("feed", "quant_feed_info{@}"),
            Choice("symbol", "quant_data_overdue_seconds{@}"),
        ],
    )  # fmt: skip
