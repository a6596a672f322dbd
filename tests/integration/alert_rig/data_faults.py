"""What goes wrong with sources and feeds. Every row has a source and a feed of its own, whose bars
of five minutes may be twenty minutes overdue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from exporter.simulator.market import SimulatedBar
from tests.integration.alert_rig.fault import BEGIN, STRIKE, Fault, Told, after
from tests.integration.alert_rig.life import Life

SYMBOLS = ["NVDA.US", "TSLA.US", "SPY.US"]
IN_TIME = 26
"""Minutes: the bar that comes next, its delay, the limit, and the rule's own two."""
STILL = IN_TIME + 5
"""A bar that forms when prices stop is there in its time."""
DOWN = Told("QuantSourceDown", "phone", IN_TIME)
OVERDUE = Told("QuantDataOverdue", "phone", IN_TIME)
FROZEN = Told("QuantDataOverdue", "phone", STILL)
IMPATIENT = {"connect_timeout": "1s", "read_timeout": "50ms"}


def feed(source: str, **more: Any) -> dict[str, Any]:
    return {
        "source": source, "symbols": SYMBOLS, "interval": "5m", "exchange": "XNYS", "poll": "5m",
        "delay": "60s", "max_overdue": {"critical": "20m"}, **more,
    }  # fmt: skip


def source(**more: Any) -> dict[str, Any]:
    return {"type": "simulated", "retries": 0, "requests_per_minute": 6000, **more}


def breaks(name: str, **fault: Any) -> Callable[[Life], Any]:
    return lambda life: life.parts.supply.simulators[name].faults.add(fault)


def mends(name: str) -> Callable[[Life], Any]:
    return lambda life: life.parts.supply.simulators[name].faults.remove()


def fault(
    name: str, *tells: Told, how: dict[str, Any], lasts: float | None = None,
    struck: float = STRIKE, of: dict[str, Any] | None = None, more: dict[str, Any] | None = None,
    tasks: dict[str, Any] | None = None, feeds: dict[str, Any] | None = None,
    sources: dict[str, Any] | None = None,
) -> Fault:  # fmt: skip
    """A source that breaks and, after so many minutes, is mended."""
    return Fault(
        name,
        tells,
        {
            "sources": {name: source(**(of or {})), **(sources or {})},
            "feeds": {name: feed(name, **(more or {})), **(feeds or {})},
            "tasks": tasks or {},
        },
        (
            (struck, breaks(name, **how)),
            *([after(lasts, mends(name))] if lasts else []),
        ),
        struck,
    )


def _wide_spread(life: Life) -> None:
    simulator = life.parts.supply.simulators["spread_wide"]
    answers = simulator._handlers["/market/ticker"].__self__
    quote = answers._market.quote

    def wide(symbol: str, at: float) -> tuple[float, float, float]:
        last, bid, ask = quote(symbol, at)
        return last, bid * 0.98, ask * 1.02

    answers._market.quote = wide


def _price_stands_still(life: Life) -> None:
    """Bars come in time, with the same price and volume again and again."""
    simulator = life.parts.supply.simulators["price_stands_still"]
    market = simulator._handlers["/market/ticker"].__self__._market
    bar = market.bar

    def still(symbol: str, *span: float, now: float) -> SimulatedBar:
        return replace(
            bar(symbol, *span, now=now), open=100.0, high=100.0, low=100.0, close=100.0, volume=7.0
        )

    market.bar = still


FAULTS = [
    fault("source_refuses", DOWN, how={"fault": "disconnect"}),
    fault("source_hangs", DOWN, how={"fault": "hang"}, of=IMPATIENT),
    fault("source_drips", DOWN, how={"fault": "drip"}, of=IMPATIENT),
    fault("key_refused", DOWN, how={"fault": "auth"}),
    fault("rate_limited", DOWN, how={"fault": "rate_limit", "retry_after": 60}),
    fault("quota_used_up", DOWN, how={"fault": "quota", "retry_after": 6 * 3600}),
    fault("answers_html", DOWN, how={"fault": "html"}),
    fault("bad_gateway", DOWN, how={"fault": "http", "status": 502}),
    fault("redirected", DOWN, how={"fault": "redirect"}),
    fault("internal_errors", DOWN, how={"fault": "server_error"}),
    fault("answers_break_off", DOWN, how={"fault": "truncate"}),
    fault("other_types", DOWN, how={"fault": "wrong_types"}),
    fault("closes_are_nan", DOWN, how={"fault": "not_numbers"}),
    fault("answers_are_empty", DOWN, how={"fault": "missing_symbol"}),
    fault("bars_stand_still", FROZEN, how={"fault": "frozen"}),
    fault("bars_from_the_future", OVERDUE, how={"fault": "future"}),
    fault("one_symbol_missing", OVERDUE, how={"fault": "missing_symbol", "symbol": "SPY.US"}),
    fault("one_symbol_stands_still", Told("QuantPriceFrozen", "phone", STILL),
          how={"fault": "frozen", "symbol": "SPY.US"}),
    fault("short_outage", how={"fault": "disconnect"}, lasts=10),
    fault("one_bad_answer", how={"fault": "html", "count": 1}),
    fault("rate_limit_of_a_moment", how={"fault": "rate_limit", "retry_after": 60}, lasts=2),
    fault("only_forming_bars", how={"fault": "forming_only"}),
    fault("newest_first", how={"fault": "descending"}),
    # Known before its feed may be late, which would be told as well.
    fault("impatient_feed", Told("QuantSourceDown", "phone", 11), how={"fault": "disconnect"},
          more={"max_overdue": {"critical": "5m"}}),
    fault(
        "outage_that_ends", Told("QuantSourceDown", "phone", IN_TIME, over_after=53),
        how={"fault": "disconnect"}, lasts=45,
    ),
    fault(
        "overdue_in_two_tiers", Told("QuantDataOverdue", "chat", STILL),
        Told("QuantDataOverdue", "phone", 71),
        how={"fault": "frozen"}, more={"max_overdue": {"warning": "20m", "critical": "1h"}},
    ),
    fault(
        "overdue_for_chat", Told("QuantDataOverdue", "chat", STILL),
        how={"fault": "frozen"}, more={"max_overdue": {"warning": "20m"}},
    ),
    # Whose bars are there all the time, so that nobody is paged.
    fault(
        "second_source_takes_over", Told("QuantFeedFallback", "chat", 20, over_after=75),
        how={"fault": "disconnect"}, lasts=45,
        more={"fallback": "second_source_takes_over__spare"},
        sources={"second_source_takes_over__spare": source()},
    ),
    # The bell rings at 9:30: the first bar is due at 9:36.
    fault("unknown_holiday", Told("QuantDataOverdue", "phone", 60), how={"fault": "frozen"},
          struck=BEGIN),
    fault("nobody_needs_it", how={"fault": "disconnect"}, more={"max_overdue": {}}),
    # Everything that waits for it is its consequence.
    fault(
        "source_down_with_all_of_its_own", DOWN, how={"fault": "server_error"},
        feeds={"source_down_with_all_of_its_own__other": feed("source_down_with_all_of_its_own")},
        tasks={
            "source_down_with_all_of_its_own__task": {
                "run": "tests.integration.alert_rig.programs:fetches", "schedule": "every 1h",
                "source": "source_down_with_all_of_its_own", "severity": "critical",
            }
        },
    ),
    # Bad symbols of one feed do not make the source look down, which would mute the other one.
    fault(
        "bad_symbols_mute_nobody", OVERDUE, Told("QuantDataOverdue", "chat", IN_TIME),
        how={"fault": "not_numbers", "symbol": "NVDA.US"},
        feeds={
            "bad_symbols_mute_nobody__other":
                feed("bad_symbols_mute_nobody", symbols=["AAPL.US", "NVDA.US"],
                     max_overdue={"warning": "20m"})
        },
    ),
    Fault(
        "spread_wide",
        (Told("QuantSpreadAnomaly", "chat", 12),),
        {
            "sources": {"spread_wide": source()},
            "feeds": {"spread_wide": feed("spread_wide", max_spread={"warning": "1%"})},
        },
        (after(0, _wide_spread),),
    ),
    Fault(
        "price_stands_still",
        (Told("QuantPriceFrozen", "phone", 27),),
        {
            "sources": {"price_stands_still": source()},
            "feeds": {"price_stands_still": feed("price_stands_still", max_unchanged=3)},
        },
        (after(0, _price_stands_still),),
    ),
]  # fmt: skip
