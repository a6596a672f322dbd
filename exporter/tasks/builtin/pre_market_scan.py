"""Before the open: the previous session's close and the pre-market move of each symbol."""

from __future__ import annotations

import math
from typing import Any

from exporter.messages.message import ChannelMessage, Chart, MessageTable
from exporter.sources.base import SourceError
from exporter.tasks.builtin import report
from exporter.tasks.builtin.closes import daily_closes
from exporter.tasks.builtin.parts import Parts, parts_of, send_report
from exporter.tasks.context import Context
from exporter.tasks.errors import NoData, StaleData
from exporter.util.clock import iso
from exporter.util.nan import NAN


async def pre_market_scan(context: Context) -> int:
    """Scan all symbols of the feeds at the task's exchange, or those in ``params: {symbols: […]}``.

    Writes ``pre_market_scan-<day>.md`` and ``.json`` under the state folder's ``reports``. Returns
    the number of symbols. Raises NoData when a symbol has no daily bar, and StaleData when the bar
    of the last session is missing for some, or their bars stopped before its close.
    """
    parts = parts_of(context)
    task = parts.config.tasks[context.task]
    exchange = task.exchange or str(context.params.get("exchange", "XNYS"))
    calendar, now = parts.calendars.get(exchange), context.clock.now()
    session = calendar.previous_session(now)
    rows: list[dict[str, Any]] = []
    problems: dict[str, str] = {}
    stale: list[str] = []
    for name, symbols in _wanted(context, parts, exchange).items():
        source = parts.sources[name]
        closes = await daily_closes(source, parts.state, symbols, calendar, now, wanted=1)
        problems |= closes.problems
        last = await _last_prices(context, name, symbols)
        for symbol in symbols:
            if symbol in closes.problems:
                continue
            found = closes.closes.get(symbol, {})
            if not found:
                problems[symbol] = "no closed daily bar"
                continue
            if session.close not in found:
                stale.append(f"{symbol} (last bar ended {iso(max(found))})")
                continue
            broken_off = parts.breaks_off(name, symbol, session.close)
            if broken_off is not None:
                stale.append(f"{symbol} (bars stop at {iso(broken_off)})")
                continue
            price, close = last.get(symbol, NAN), found[session.close]
            rows.append(
                {"symbol": symbol, "previous_close": close, "price": price,
                 "move": price / close - 1}
            )  # fmt: skip
    await _publish(context, calendar.day_of(now).isoformat(), rows, problems, stale)
    if stale:
        raise StaleData(
            f"no bar for the session of {session.day} for {', '.join(stale[:5])}"
            + (f" and {len(stale) - 5} more" if len(stale) > 5 else "")
        )
    if problems:
        symbol, text = next(iter(problems.items()))
        raise NoData(f"{len(problems)} of {len(rows) + len(problems)} symbols, {symbol}: {text}")
    if not rows:
        raise NoData(
            "no symbol to scan: no feed has this exchange. Add one, or set params: {symbols: [...]}"
        )
    return len(rows)


def _wanted(context: Context, parts: Parts, exchange: str) -> dict[str, list[str]]:
    symbols = context.params.get("symbols")
    if not symbols:
        return parts.symbols_of(exchange)
    name = parts.config.tasks[context.task].source or next(iter(parts.sources), None)
    if name is None:
        raise NoData("no source is configured")
    return {name: [str(symbol) for symbol in symbols]}


async def _last_prices(context: Context, source: str, symbols: list[str]) -> dict[str, float]:
    try:
        tickers = await context.tickers(symbols, source=source, partial=True)
    except SourceError as error:
        # The close is what matters; the move is then unknown, and the source has counted it.
        context.log.warning("no pre-market prices: %s", error, extra={"event": "no_tickers"})
        return {}
    return {symbol: ticker.last for symbol, ticker in tickers.items()}


async def _publish(
    context: Context,
    day: str,
    rows: list[dict[str, Any]],
    problems: dict[str, str],
    stale: list[str],
) -> None:
    for row in rows:
        context.log.info(
            "%s closed at %s, now %s",
            row["symbol"], row["previous_close"], report.percent(row["move"]),
            extra={"event": "pre_market", **row},
        )  # fmt: skip
    rows = sorted(rows, key=lambda row: abs(row["move"]) if row["move"] == row["move"] else 0.0)
    rows.reverse()
    lines = [
        (
            row["symbol"],
            report.price(row["previous_close"]),
            report.price(row["price"]),
            report.percent(row["move"]),
        )
        for row in rows
    ]
    text = f"# Pre-market scan, {day}\n\n" + report.table(
        ("Symbol", "Previous close", "Price", "Move"), lines
    )
    text += "".join(f"\n- stale: {line}" for line in stale) + report.problem_lines(problems)
    data = {"day": day, "symbols": rows, "problems": problems, "stale": stale}
    parts = parts_of(context)
    name = parts.report_name("pre_market_scan", context.task)
    report.write(parts.reports, f"{name}-{day}", text, data)
    late = {line.partition(" ")[0]: "stale " + line.partition(" ")[2] for line in stale}
    await send_report(
        context, _message(day, rows, problems | late),
        "incomplete" if problems or stale else "complete",
    )  # fmt: skip


def _message(day: str, rows: list[dict[str, Any]], problems: dict[str, str]) -> ChannelMessage:
    """For a phone: the largest moves first, as `rows` are."""
    lines = [
        (row["symbol"], report.price(row["price"]), report.percent(row["move"])) for row in rows
    ]
    table = [MessageTable("", ("Symbol", "Price", "Move"), lines)] if lines else []
    moves = {row["symbol"]: [None if math.isnan(row["move"]) else row["move"]] for row in rows}
    return ChannelMessage(
        f"Pre-market scan, {day}",
        [*table, *report.problem_parts(problems)],
        [Chart("Moves before the open", moves)],
    )
