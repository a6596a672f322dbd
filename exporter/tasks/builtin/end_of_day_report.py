"""After the close: each strategy's day and each symbol's move, as Markdown and JSON."""

from __future__ import annotations

import json
import math
from datetime import date
from pathlib import Path
from typing import Any

from exporter.messages.message import ChannelMessage, Chart, MessageTable
from exporter.strategies.equity import EquityDay
from exporter.tasks.builtin import report
from exporter.tasks.builtin.closes import daily_closes
from exporter.tasks.builtin.parts import parts_of, send_report
from exporter.tasks.context import Context
from exporter.tasks.errors import StaleData
from exporter.util.clock import iso
from exporter.util.local_time import date_of
from exporter.util.nan import NAN

MOST_DAYS = 30
"""Reports in the picture of the equity."""


async def end_of_day_report(context: Context) -> int:
    """Write ``end_of_day-<day>.md`` and ``.json`` under the state folder's ``reports``.

    Returns the number of strategies and symbols in it. Raises StaleData, after writing what there
    is, when today's daily bar is missing for some symbol, or is incomplete; not for a run by hand
    before the close.
    """
    parts = parts_of(context)
    exchange = parts.config.tasks[context.task].exchange
    await parts.strategies.refresh()
    day, until = _day(context, exchange)
    strategies = {
        name: parts.strategies.summary(name) | _of_the_day(context, name, until)
        for name in parts.strategies.configured
    }
    moves: list[dict[str, Any]] = []
    problems: dict[str, str] = {}
    for feed_exchange in sorted({f.exchange for f in parts.config.feeds.values()}):
        if exchange in (None, feed_exchange):
            await _moves(context, feed_exchange, day if exchange else None, moves, problems)
    name = parts.report_name("end_of_day", context.task)
    data = {
        "day": day.isoformat(), "strategies": strategies, "symbols": moves, "problems": problems,
    }  # fmt: skip
    path = report.write(parts.reports, f"{name}-{day}", _markdown(data), data)
    earned = _by_currency(strategies)
    context.log.info(
        "%s: %d strategies, P&L %s; %d symbols, %d without the day's bar",
        day, len(strategies),
        ", ".join(f"{report.number(sum_)} {currency}" for currency, sum_ in earned.items()) or "–",
        len(moves), len(problems),
        extra={"event": "end_of_day_report", "path": str(path), "pnl": earned},
    )  # fmt: skip
    await send_report(
        context, _message(data, earned, _curves(parts.reports, name, day)),
        "incomplete" if problems else "complete",
    )  # fmt: skip
    # Somebody who wants to see it before the close gets what there is.
    asked_early = context.slot is None and set(problems.values()) == {_not_ended(day)}
    if problems and not asked_early:
        symbol, text = next(iter(problems.items()))
        raise StaleData(f"{len(problems)} symbols without the day's bar; {symbol}: {text}")
    return len(strategies) + len(moves)


def _day(context: Context, exchange: str | None) -> tuple[date, float]:
    """The day of the report and the moment up to which it counts: the session that has begun on
    the day of the slot (or, by hand, of now), else the one before."""
    parts = parts_of(context)
    moment = context.slot if context.slot is not None else context.clock.now()
    if exchange is None:
        return date_of(moment, parts.zone), moment
    calendar = parts.calendars.get(exchange)
    session = calendar.session_on(calendar.day_of(moment))
    if session is not None and moment >= session.open:
        return session.day, moment
    before = calendar.previous_session(moment)
    return before.day, before.close


def _of_the_day(context: Context, name: str, until: float) -> dict[str, float]:
    """The strategy's numbers of the day in which `until` lies. When its equity is of a later day
    they are those of that day's end, and NaN when the day had no equity."""
    parts = parts_of(context)
    curve, day = parts.strategies.curves[name], date_of(until, parts.zone).isoformat()
    if not curve.day or curve.day <= day:
        return {"pnl_today": curve.pnl_on(until, parts.zone)}
    past = curve.on(day) or EquityDay(day, NAN, NAN, NAN, NAN)
    return {"pnl_today": past.pnl, "equity": past.equity, "drawdown": past.drawdown}


def _by_currency(strategies: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The day's profit of all strategies; amounts in different currencies have no sum."""
    earned: dict[str, float] = {}
    for summary in strategies.values():
        if not math.isnan(summary["pnl_today"]):
            currency = summary["currency"]
            earned[currency] = earned.get(currency, 0.0) + summary["pnl_today"]
    return earned


async def _moves(
    context: Context,
    exchange: str,
    day: date | None,
    moves: list[dict[str, Any]],
    problems: dict[str, str],
) -> None:
    """The moves of the exchange's symbols on `day`; without one, in its newest session."""
    parts = parts_of(context)
    calendar, now = parts.calendars.get(exchange), context.clock.now()
    session = calendar.previous_session(now)
    if day is not None and day != session.day:
        if day > session.day:
            for symbols in parts.symbols_of(exchange).values():
                problems.update(dict.fromkeys(symbols, _not_ended(day)))
            return
        session = calendar.session_on(day) or session
    previous = calendar.previous_session(session.open)
    for name, symbols in parts.symbols_of(exchange).items():
        closes = await daily_closes(
            parts.sources[name], parts.state, symbols, calendar, now, wanted=2
        )
        problems.update(closes.problems)
        for symbol in symbols:
            if symbol in closes.problems:
                continue
            found = closes.closes.get(symbol, {})
            if session.close not in found:
                problems[symbol] = f"no bar for {session.day}"
                continue
            broken_off = parts.breaks_off(name, symbol, session.close)
            if broken_off is not None:
                problems[symbol] = (
                    f"the bar of {session.day} is incomplete: bars stop at {iso(broken_off)}"
                )
                continue
            close, before = found[session.close], found.get(previous.close, NAN)
            moves.append(
                {"symbol": symbol, "close": close, "previous": before, "move": close / before - 1}
            )


def _not_ended(day: date) -> str:
    return f"the session of {day} has not ended"


def _tables(data: dict[str, Any]) -> list[MessageTable]:
    """Strategies and symbols, where there are any."""
    strategies = [
        (name, s["currency"], report.number(s["equity"]), report.number(s["pnl_today"]),
         report.percent(s["drawdown"]).removeprefix("+"))
        for name, s in data["strategies"].items()
    ]  # fmt: skip
    moves = [
        (m["symbol"], report.price(m["previous"]), report.price(m["close"]),
         report.percent(m["move"]))
        for m in sorted(data["symbols"], key=lambda m: m["symbol"])
    ]  # fmt: skip
    tables = (
        MessageTable(
            "Strategies", ("Strategy", "Currency", "Equity", "P&L", "Drawdown"), strategies
        ),
        MessageTable("Symbols", ("Symbol", "Previous close", "Close", "Move"), moves),
    )
    return [table for table in tables if table.rows]


def _markdown(data: dict[str, Any]) -> str:
    tables = [report.table(table.head, table.rows) for table in _tables(data)]
    text = f"# End of day, {data['day']}\n\n" + "\n".join(tables)
    return text + report.problem_lines(data["problems"])


def _message(
    data: dict[str, Any], earned: dict[str, float], curves: dict[str, list[float | None]]
) -> ChannelMessage:
    """For a phone: strategies without the currency's column, the largest moves first."""
    total = ", ".join(f"P&L {report.number(sum_)} {currency}" for currency, sum_ in earned.items())
    parts: list[str | MessageTable] = [total] if total else []
    strategies = [
        (name, report.number(s["pnl_today"]), report.percent(s["drawdown"]).removeprefix("+"))
        for name, s in data["strategies"].items()
    ]
    if strategies:
        parts.append(MessageTable("", ("Strategy", "P&L", "Drawdown"), strategies))
    known = [m for m in data["symbols"] if not math.isnan(m["move"])]
    moves = sorted(known, key=lambda m: -abs(m["move"]))
    if moves:
        rows = [(m["symbol"], report.price(m["close"]), report.percent(m["move"])) for m in moves]
        parts.append(MessageTable("", ("Symbol", "Close", "Move"), rows))
    parts += report.problem_parts(data["problems"])
    charts = (
        Chart("Equity since 30 reports ago", curves),
        Chart("Moves of the day", {m["symbol"]: [m["move"]] for m in moves}),
    )
    return ChannelMessage(f"End of day, {data['day']}", parts, charts)


def _curves(reports: Path, name: str, day: date) -> dict[str, list[float | None]]:
    """Each strategy's equity by the newest reports up to `day`, against the first of them."""
    days = sorted(
        path for path in reports.glob(f"{name}-[0-9]*.json") if path.stem <= f"{name}-{day}"
    )[-MOST_DAYS:]
    found: dict[str, list[float | None]] = {}
    for number, path in enumerate(days):
        try:
            strategies = json.loads(path.read_text(encoding="utf-8"))["strategies"]
            equity = {one: summary["equity"] for one, summary in strategies.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        for one, value in equity.items():
            if isinstance(value, int | float):
                found.setdefault(one, [None] * len(days))[number] = float(value)
    for values in found.values():
        first = next(value for value in values if value is not None)
        values[:] = [v / first - 1 if v is not None and first > 0 else None for v in values]
    return found
