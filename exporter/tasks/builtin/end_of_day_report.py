"""After the close: each strategy's day and each symbol's move, as Markdown and JSON."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

from exporter.tasks.builtin import report
from exporter.tasks.builtin.closes import daily_closes
from exporter.tasks.builtin.parts import parts_of
from exporter.tasks.context import Context
from exporter.tasks.errors import StaleData
from exporter.util.clock import iso
from exporter.util.local_time import date_of
from exporter.util.nan import NAN


async def end_of_day_report(context: Context) -> int:
    """Write ``end_of_day-<day>.md`` and ``.json`` under the state folder's ``reports``.

    Returns the number of strategies and symbols in it. Raises StaleData, after writing what there
    is, when today's daily bar is missing for some symbol, or is incomplete.
    """
    parts = parts_of(context)
    exchange = parts.config.tasks[context.task].exchange
    await parts.strategies.refresh()
    day, until = _day(context, exchange)
    strategies = {
        name: parts.strategies.summary(name) | {"pnl_today": _pnl(context, name, until)}
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
    if problems:
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


def _pnl(context: Context, name: str, until: float) -> float:
    """The strategy's profit of the day in which `until` lies; NaN when its equity is of a later
    day, because only the newest day is known."""
    parts = parts_of(context)
    curve = parts.strategies.curves[name]
    later = bool(curve.day) and curve.day > date_of(until, parts.zone).isoformat()
    return NAN if later else curve.pnl_on(until, parts.zone)


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
            text = f"the session of {day} has not ended"
            for symbols in parts.symbols_of(exchange).values():
                problems.update(dict.fromkeys(symbols, text))
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


def _markdown(data: dict[str, Any]) -> str:
    strategies, moves, problems = data["strategies"], data["symbols"], data["problems"]
    text = f"# End of day, {data['day']}\n\n"
    if strategies:
        rows = [
            (name, s["currency"], report.number(s["equity"]), report.number(s["pnl_today"]),
             report.percent(s["drawdown"]).removeprefix("+"))
            for name, s in strategies.items()
        ]  # fmt: skip
        text += report.table(("Strategy", "Currency", "Equity", "P&L", "Drawdown"), rows) + "\n"
    if moves:
        rows2 = [
            (
                m["symbol"],
                report.price(m["previous"]),
                report.price(m["close"]),
                report.percent(m["move"]),
            )
            for m in sorted(moves, key=lambda m: m["symbol"])
        ]
        text += report.table(("Symbol", "Previous close", "Close", "Move"), rows2)
    return text + "".join(f"\n- {symbol}: {problem}" for symbol, problem in problems.items())
