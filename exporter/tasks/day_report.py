"""After the close: each strategy's day and each symbol's move, as Markdown and JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from exporter.metrics import NAN
from exporter.tasks import report
from exporter.tasks.closes import daily_closes
from exporter.tasks.context import Context
from exporter.tasks.errors import StaleData
from exporter.tasks.parts import Parts


async def end_of_day_report(context: Context) -> int:
    """Write ``end_of_day-<day>.md`` and ``.json`` under the state folder's ``reports``.

    Returns the number of strategies and symbols in it. Raises StaleData, after writing what there
    is, when today's daily bar is not there for some symbol.
    """
    parts: Parts = context.parts
    exchange = parts.config.tasks[context.task].exchange
    await parts.strategies.refresh()
    strategies = {name: parts.strategies.summary(name) for name in parts.strategies.configured}
    now = context.clock.now()
    moves: list[dict[str, Any]] = []
    problems: dict[str, str] = {}
    day = datetime.fromtimestamp(now, parts.zone).date()
    for feed_exchange in sorted({f.exchange for f in parts.config.feeds.values()}):
        if exchange in (None, feed_exchange):
            await _moves(context, feed_exchange, moves, problems)
    if exchange:
        day = parts.calendars.get(exchange).previous_session(now).day
    path = _write(parts, day.isoformat(), strategies, moves, problems)
    total = sum(s["pnl_today"] for s in strategies.values() if s["pnl_today"] == s["pnl_today"])
    context.log.info(
        "%s: %d strategies, P&L %s; %d symbols, %d without today's bar",
        day, len(strategies), report.number(total), len(moves), len(problems),
        extra={"event": "end_of_day_report", "path": str(path), "pnl": total},
    )  # fmt: skip
    if problems:
        symbol, text = next(iter(problems.items()))
        raise StaleData(f"{len(problems)} symbols without the day's bar; {symbol}: {text}")
    return len(strategies) + len(moves)


async def _moves(
    context: Context, exchange: str, moves: list[dict[str, Any]], problems: dict[str, str]
) -> None:
    parts: Parts = context.parts
    calendar, now = parts.calendars.get(exchange), context.clock.now()
    session = calendar.previous_session(now)
    for name, symbols in parts.symbols_of(exchange).items():
        closes = await daily_closes(parts.sources[name], symbols, calendar, now, wanted=2)
        problems.update(closes.problems)
        for symbol in symbols:
            if symbol in closes.problems:
                continue
            bars = closes.bars.get(symbol, [])
            if not bars or bars[-1][0] < session.close:
                problems[symbol] = f"the bar of {session.day} is not there"
                continue
            close = bars[-1][1].close
            before = bars[-2][1].close if len(bars) > 1 else NAN
            move = close / before - 1 if before else NAN
            moves.append({"symbol": symbol, "close": close, "previous": before, "move": move})


def _write(
    parts: Parts,
    day: str,
    strategies: dict[str, dict[str, Any]],
    moves: list[dict[str, Any]],
    problems: dict[str, str],
) -> Any:
    text = f"# End of day, {day}\n\n"
    if strategies:
        rows = [
            (name, s["currency"], report.number(s["equity"]), report.number(s["pnl_today"]),
             report.percent(-s["drawdown"]))
            for name, s in strategies.items()
        ]  # fmt: skip
        text += (
            report.table(("Strategy", "Currency", "Equity", "P&L today", "Drawdown"), rows) + "\n"
        )
    if moves:
        rows2 = [
            (
                m["symbol"],
                report.number(m["previous"]),
                report.number(m["close"]),
                report.percent(m["move"]),
            )
            for m in sorted(moves, key=lambda m: m["symbol"])
        ]
        text += report.table(("Symbol", "Previous close", "Close", "Move"), rows2)
    text += "".join(f"\n- {symbol}: {problem}" for symbol, problem in problems.items())
    data = {"day": day, "strategies": strategies, "symbols": moves, "problems": problems}
    return report.write(parts.reports, f"end_of_day-{day}", text, data)
