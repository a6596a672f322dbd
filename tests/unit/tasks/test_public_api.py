"""What a user's own task is given: arguments checked, closed bars, the same in both contexts."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import exporter.tasks
from exporter.tasks import Bar, BlockingContext, Context, NoData, Permanent, SourceError, Ticker
from exporter.tasks.testing import FakeMarket

DAY = 86400.0
NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture
def market() -> FakeMarket:
    made = FakeMarket()
    made.add_bars("NVDA.US", "1d", [100, 101, 103], start=date(2026, 11, 24))
    made.add_ticker("NVDA.US", 104.0, bid=103.9)
    return made


def both(market: FakeMarket, method: str, *args: Any, now: Any = None, **more: Any) -> Any:
    """What the method gives, which is the same in a coroutine and in a plain function."""
    exchange = more.pop("exchange", None)
    context = market.context(now=now, exchange=exchange)
    blocking = market.blocking_context(now=now, exchange=exchange)
    found = asyncio.run(getattr(context, method)(*args, **more))
    assert getattr(blocking, method)(*args, **more) == found
    return found


def test_a_fetch_gives_bars_and_tickers(market: FakeMarket) -> None:
    """As values with names, ascending."""
    bars = both(market, "latest", ["NVDA.US"], "1d")["NVDA.US"]
    assert [bar.close for bar in bars] == [100, 101, 103]
    assert isinstance(bars[0], Bar)
    assert both(market, "tickers", ["NVDA.US"]) == {
        "NVDA.US": Ticker(
            "NVDA.US", 104.0, 103.9, None, datetime(2026, 11, 27, tzinfo=UTC).timestamp()
        )
    }


def test_the_forming_bar_is_shown_on_request_alone(market: FakeMarket) -> None:
    """A strategy that trades on it by mistake trades on a price that is not final."""
    now = datetime(2026, 11, 26, 15, tzinfo=UTC)
    for method, args in (
        ("latest", (["NVDA.US"], "1d")),
        ("history", ("NVDA.US", "1d", date(2026, 1, 1), date(2027, 1, 1))),
    ):
        for forming, count in ((False, 2), (True, 3)):
            found = both(market, method, *args, now=now, forming=forming)
            bars = found["NVDA.US"] if method == "latest" else found
            assert len(bars) == count


def test_the_exchange_says_when_a_bar_is_closed(market: FakeMarket) -> None:
    """FX days end at 17:00 New York, not at midnight UTC; without an exchange a bar lasts its
    nominal interval."""
    now = datetime(2026, 11, 25, 23, tzinfo=UTC)
    assert len(both(market, "latest", ["NVDA.US"], "1d", now=now, exchange="FX")["NVDA.US"]) == 2
    assert len(both(market, "latest", ["NVDA.US"], "1d", now=now)["NVDA.US"]) == 1


@pytest.mark.parametrize(("day", "closed"), [(31, 0), (32, 1)])
def test_a_month_without_an_exchange_has_31_days(day: int, closed: int) -> None:
    """A bar of a long month must not count as closed on its last day."""
    market = FakeMarket()
    market.add_bars("X", "1M", [1.0], start=date(2026, 10, 1))
    now = datetime(2026, 10, 1, tzinfo=UTC).timestamp() + (day - 1) * DAY
    found = both(market, "latest", ["X"], "1M", now=now, partial=True)
    assert len(found.get("X", [])) == closed


def test_a_symbol_without_a_closed_bar_is_no_data(market: FakeMarket) -> None:
    """An empty list would fail later, at a line that says nothing about it."""
    now = datetime(2026, 11, 24, 1, tzinfo=UTC)
    for call in (
        lambda: asyncio.run(market.context(now=now).latest(["NVDA.US"], "1d")),
        lambda: market.blocking_context(now=now).latest(["NVDA.US"], "1d"),
    ):
        with pytest.raises(NoData, match=r"NVDA\.US: no 1d bar is closed yet"):
            call()
    assert both(market, "latest", ["NVDA.US"], "1d", now=now, partial=True) == {}


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (date(2026, 11, 25), date(2026, 11, 26)),
        (datetime(2026, 11, 24, 19, tzinfo=NEW_YORK), datetime(2026, 11, 25, 18, tzinfo=NEW_YORK)),
        (
            datetime(2026, 11, 25, tzinfo=UTC).timestamp(),
            datetime(2026, 11, 26, tzinfo=UTC).timestamp(),
        ),
    ],
)
def test_history_takes_dates_datetimes_and_seconds(
    market: FakeMarket, start: Any, end: Any
) -> None:
    """Each means the same stretch of time; its end is not part of it."""
    (bar,) = both(market, "history", "NVDA.US", "1d", start, end)
    assert bar.close == 101


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.history("X", "1d", datetime(2026, 1, 1), 0), "start is a datetime without a "
         r"zone \(2026-01-01 00:00:00\); give it one"),
        (lambda c: c.history("X", "1d", 0, "2026-01-01"), r"end is '2026-01-01' \(str\); pass a "
         "datetime with a zone, a date"),
        (lambda c: c.history("X", "1d", None, 0), "start is None"),
        (lambda c: c.history("X", "1d", True, 0), "start is True"),
        (lambda c: c.history("X", "1d", 1_790_000_000_000, 0), ".* is not in seconds; divide"),
        (lambda c: c.history(["X"], "1d", 0, 1), r"a symbol is \['X'\] \(list\)"),
        (lambda c: c.history("X", "1D", 0, 1), "interval is '1D'; pass one of 1m"),
        (lambda c: c.latest("X", "1d"), r"symbols is one text, 'X'; pass a list: \['X'\]"),
        (lambda c: c.latest(7, "1d"), "symbols is 7"),
        (lambda c: c.latest([7], "1d"), "a symbol is 7"),
        (lambda c: c.tickers("X"), "symbols is one text"),
    ],
)  # fmt: skip
def test_a_wrong_argument_names_the_line_of_the_caller(
    market: FakeMarket, call: Any, message: str
) -> None:
    """Before anything is fetched, and also where the coroutine is not awaited at once."""
    line = call.__code__.co_firstlineno
    place = rf" \(test_public_api.py, line ({line}|{line + 1})\)$"
    for context in (market.context(), market.blocking_context()):
        with pytest.raises(TypeError, match=f"^{message}.*{place}"):
            call(context)


def test_errors_of_a_source_are_the_same_in_both(market: FakeMarket) -> None:
    """With their reason and whether trying again helps."""
    market.fail(
        "TSLA.US", SourceError("rate", "too many", retryable=True, retry_after=9, code=3001)
    )
    for call in (
        lambda: asyncio.run(market.context().latest(["TSLA.US"], "1d")),
        lambda: market.blocking_context().latest(["TSLA.US"], "1d"),
    ):
        with pytest.raises(SourceError, match="too many") as raised:
            call()
        error = raised.value
        assert (error.reason, error.retryable, error.retry_after, error.code) == (
            "rate",
            True,
            9,
            3001,
        )
    assert both(market, "latest", ["NVDA.US", "TSLA.US"], "1d", partial=True).keys() == {"NVDA.US"}


def test_calendars_are_the_same_in_both(market: FakeMarket) -> None:
    """A plain function may ask when the exchange trades, too."""
    for context in (market.context(), market.blocking_context()):
        calendar = context.calendar("FX")
        session = calendar.session_on(date(2026, 11, 25))
        assert session
        assert session.close == datetime(2026, 11, 25, 17, tzinfo=NEW_YORK).timestamp()


def test_contexts_show_nothing_internal(market: FakeMarket) -> None:
    """What an editor offers is what a task may use."""
    for context in (market.context(), market.blocking_context()):
        assert {name for name in dir(context) if not name.startswith("_")} == {
            "attempt", "calendar", "clock", "counter", "equity", "fill", "gauge", "history",
            "latest", "log", "notify", "params", "run_id", "slot", "task", "tickers",
        }  # fmt: skip
    assert {Bar, BlockingContext, Context, NoData} <= {
        getattr(exporter.tasks, name) for name in exporter.tasks.__all__
    }


async def test_notify_is_the_same_in_both_and_remembered_by_a_test(market: FakeMarket) -> None:
    """Checked on the line that called it."""
    assert await market.context().notify("sold", title="Rebalance", to="phone")
    assert market.blocking_context().notify("bought", to=["phone", "chat"])
    assert market.messages == [("Rebalance", "sold"), (None, "bought")]
    for context in (market.context(), market.blocking_context()):
        with pytest.raises(TypeError, match=r"the message is 5 \(int\); pass a text \(test_public"):
            await context.notify(5)  # type: ignore[arg-type, misc]
        with pytest.raises(TypeError, match="to is 5"):
            await context.notify("x", to=5)  # type: ignore[arg-type, misc]


def test_a_task_sets_metrics_of_its_own(market: FakeMarket) -> None:
    """The same in both contexts, numbers of numpy included; a test hears of what would be
    refused."""
    import numpy as np

    for context in (market.context(), market.blocking_context()):
        market.metrics.clear()
        assert context.gauge("positions", np.int64(3), strategy="m")
        assert context.counter("orders")
        assert context.counter("orders", 2)
        assert context.gauge("value", float("inf"), name="n", add="a")
        assert market.metrics == {
            ("positions", (("strategy", "m"),)): 3.0,
            ("orders", ()): 3.0,
            ("value", (("add", "a"), ("name", "n"))): float("inf"),
        }
        with pytest.raises(Exception, match="reserved"):
            context.gauge("quant_mine", 1)


async def test_a_task_says_what_it_traded(market: FakeMarket) -> None:
    """The same in both contexts, with all digits; what is said again is not new."""
    say = market.context()
    assert await say.fill("A.US", "BUY", Decimal("0.10"), 3, fee="0.35", order="o", id="e1")
    assert not await say.fill("A.US", "buy", "0.10", 3, id="e1")
    blocking = market.blocking_context()
    assert blocking.fill("A.US", "sell", Decimal("0.30"), at=date(2026, 11, 24))
    assert [(f.side, str(f.price), f.id) for f in market.fills[:1]] == [("buy", "0.10", "e1")]
    assert (str(market.fills[1].price), market.fills[1].quantity) == ("0.30", None)
    await say.equity("1000.50")
    blocking.equity(Decimal("1000.60"), flow=5)
    assert [str(one) for one in market.equities] == ["1000.50", "1000.60"]
    for context in (say, blocking):
        with pytest.raises(TypeError, match=r"price is nan \(float\).*test_public_api"):
            await context.fill("A.US", "buy", float("nan"))  # type: ignore[misc]
        with pytest.raises(Permanent, match="side must be buy or sell, not 'hold'"):
            found = context.fill("A.US", "hold", 1)
            await found  # type: ignore[misc]
