"""The report of a run as one HTML file: no script, nothing from elsewhere, its own style."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from exporter.backtests.batch_end import BatchEnd, with_significance
from exporter.backtests.report_charts import Line, drawdowns, gains, lines, months, shade
from exporter.backtests.result_store import StoredResult
from exporter.util.clock import utc
from exporter.util.nan import NAN
from exporter.util.units import format_duration

MOST_TRADES = 50
"""Of one strategy, the newest."""
_SHADES = {
    "p": ("#e3f4ee", "#b7e3d3", "#7fcdb0", "#3fb088"),
    "n": ("#fce7de", "#f8c7b3", "#f09a7a", "#dc6a40"),
}
_LINES = ("#0a5796", "#a8330a", "#00664a", "#7d4b00", "#6b3fa0", "#a0206b", "#3d6b00", "#545b66")
_LINES_DARK = (
    "#7cc0f5", "#ff9a70", "#5fd3ad", "#f2bd4b", "#c3a2f0", "#f28ac2", "#a8d86a", "#a6aeb8",
)  # fmt: skip


def _line_colours(colours: Sequence[str]) -> str:
    return "".join(
        f".c{n} {{ stroke: {colour}; }} .b{n} {{ background: {colour}; }}\n"
        for n, colour in enumerate(colours)
    )


STYLE = (
    """
:root { --ground: #fff; --card: #f6f7f9; --line: #d5d9df; --text: #16191d; --quiet: #545b66;
  --good: #00664a; --bad: #a8330a; --link: #0a5796; }
* { box-sizing: border-box; }
html { background: var(--ground); color: var(--text);
  font: 16px/1.45 system-ui, "DejaVu Sans", sans-serif; }
body { margin: 0 auto; max-width: 92rem; padding: .75rem 1rem 2rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.25rem; margin: 2rem 0 .5rem; padding-top: 1rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
p { margin: .4rem 0; overflow-wrap: anywhere; }
.quiet { color: var(--quiet); }
.up { color: var(--good); } .down { color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
thead th { color: var(--quiet); font-weight: 400; }
svg { display: block; width: 100%; height: auto; background: var(--card); border-radius: .4rem; }
svg text { fill: var(--quiet); font-size: 12px; }
@media (max-width: 40rem) { svg text { font-size: 22px; } }
.grid { stroke: var(--line); } .l { fill: none; stroke-width: 1.6; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1rem;
  margin: .4rem 0; padding: 0; }
.dot { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem;
  border-radius: 50%; }
ul.list { padding-left: 1.2rem; }
summary { cursor: pointer; color: var(--link); padding: .5rem 0; }
.heat td { color: #16191d; text-align: center; } .heat td.z { color: var(--text); }
"""
    + _line_colours(_LINES)
    + "".join(
        f".heat td.{kind}{n} {{ background: {colour}; }}\n"
        for kind, colours in _SHADES.items()
        for n, colour in enumerate(colours, 1)
    )
    + """@media (prefers-color-scheme: dark) {
:root { --ground: #14171a; --card: #1d2125; --line: #363c43; --text: #eceff2; --quiet: #a6aeb8;
  --good: #5fd3ad; --bad: #ff9a70; --link: #7cc0f5; }
"""
    + _line_colours(_LINES_DARK)
    + "}\n"
)
POLICY = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'; base-uri 'none'; form-action 'none'"
)
"""The page's Content-Security-Policy; served, it also has `frame-ancestors 'none'`."""


def report(end: BatchEnd, now: float, live: Mapping[str, float]) -> str:
    """The whole page. `live` is what each strategy really earned in the last month, where that is
    known."""
    names = list(dict.fromkeys(one.strategy for one in end.results))
    body = [
        f"<h1>Backtests of {utc(now):%A, %Y-%m-%d}</h1>",
        f'<p class="quiet">{_summary(end)}</p>',
        _table(end, live),
        '<p class="quiet">Of the configured parameters, after costs. Deflated: the chance that the '
        "Sharpe ratio is more than luck, after so many sets. A past that was good promises "
        "nothing.</p>",
        *(_strategy(name, end) for name in names),
        _list("Failed", end.failures),
        _list("History", [f"{name}: {text}" for name, text in end.notes.items()]),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>Backtests, {utc(now):%Y-%m-%d} · quant-exporter</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{''.join(body)}\n</main>\n</body>\n"
        "</html>\n"
    )


def _summary(end: BatchEnd) -> str:
    progress = end.progress
    text = (
        f"{progress.total} units in {format_duration(end.seconds)}: "
        f"{progress.done - progress.reused} computed, {progress.reused} unchanged, "
        f"{progress.failed} failed."
    )
    return text if end.previous else f"{text} No run of an earlier day to compare with."


def _table(end: BatchEnd, live: Mapping[str, float]) -> str:
    tried = end.by_symbol
    before = {(one.strategy, one.symbol): one for one in end.previous}
    head = [
        "Strategy", "Symbol", "Return", "Sharpe", "Sets", "Deflated", "Since last run", "CAGR",
        "Sortino", "Worst drawdown", "It lasted", "Trades", "Win rate", "Exposure", "Turnover",
        *(["Live, a month"] if live else []),
    ]  # fmt: skip
    rows = []
    for one in end.configured:
        if one.error:
            continue
        where = one.strategy, one.symbol
        numbers = with_significance(one, tried[where])
        past = before[where].numbers.get("return", NAN) if where in before else NAN
        lasted = numbers["worst_drawdown_seconds"]
        rows.append(
            [
                one.strategy, one.symbol, _signed(numbers["return"]), _number(numbers["sharpe"]),
                f"{numbers['sets_tried']:.0f}", _percent(numbers["deflated_sharpe"]),
                _signed(numbers["return"] - past), _signed(numbers["cagr"]),
                _number(numbers["sortino"]),
                _percent(numbers["worst_drawdown"]), format_duration(lasted) if lasted else "–",
                _whole(numbers["trades"]), _percent(numbers["win_rate"]),
                _percent(numbers["exposure"]), _number(numbers["turnover"]),
                *([_signed(live.get(one.strategy, NAN))] if live else []),
            ]
        )  # fmt: skip
    return _html_table(head, rows) if rows else "<p>There is no result.</p>"


def _strategy(name: str, end: BatchEnd) -> str:
    mine = [one for one in end.configured if one.strategy == name and not one.error]
    params = ", ".join(f"{key} = {value}" for key, value in mine[0].params.items()) if mine else ""
    curves: dict[str, Line] = {one.symbol: one.curve for one in mine if one.curve}
    equity = lines({s: gains(c) for s, c in curves.items()}, label=f"Equity of {name}")
    falls = lines({s: drawdowns(c) for s, c in curves.items()}, label=f"Drawdown of {name}")
    walks = [
        f"{symbol}: {_signed(walk.total)}"
        for (strategy, symbol), walk in end.walks.items()
        if strategy == name
    ]
    return "".join(
        [
            f"<h2>{html.escape(name)}</h2>",
            f'<p class="quiet">{html.escape(params)}</p>' if params else "",
            f"<h3>Equity</h3>{equity}" if equity else "",
            f"<h3>Drawdown</h3>{falls}" if falls else "",
            f"<h3>Months</h3>{_months(curves)}" if curves else "",
            _heat_map([one for one in end.results if one.strategy == name and not one.error]),
            f"<h3>Walk forward</h3><p>{', '.join(walks)}</p>" if walks else "",
            _trades(mine),
        ]
    )


def _months(curves: Mapping[str, Line]) -> str:
    by_symbol = {symbol: months(curve) for symbol, curve in curves.items()}
    names = sorted({month for found in by_symbol.values() for month in found})
    rows = [
        [symbol, *(_signed(found.get(month, NAN)) for month in names)]
        for symbol, found in by_symbol.items()
    ]
    return _html_table(["Symbol", *names], rows)


def _heat_map(results: Sequence[StoredResult]) -> str:
    """The mean Sharpe ratio of all symbols by the two parameters that have the most values."""
    values: dict[str, dict[str, Any]] = {}
    for one in results:
        for name, value in one.params.items():
            values.setdefault(name, {})[json.dumps(value)] = value
    varied = sorted((n for n in values if len(values[n]) > 1), key=lambda n: -len(values[n]))[:2]
    if not varied:
        return ""
    across, down = varied[0], varied[1] if len(varied) > 1 else None
    found: dict[tuple[str, str], list[float]] = {}
    for one in results:
        sharpe = one.numbers.get("sharpe", NAN)
        if across in one.params and not math.isnan(sharpe):
            row = json.dumps(one.params.get(down)) if down else ""
            found.setdefault((row, json.dumps(one.params[across])), []).append(sharpe)
    means = {place: sum(each) / len(each) for place, each in found.items()}
    largest = max((abs(value) for value in means.values()), default=0.0)
    columns = _in_order(values[across])
    rows = _in_order(values[down]) if down else [""]
    cells = "".join(
        f"<tr><th>{html.escape(f'{down} {row}' if down else 'Sharpe')}</th>"
        + "".join(
            f'<td class="{shade(means.get((row, column), NAN), largest)}">'
            f"{_number(means.get((row, column), NAN))}</td>"
            for column in columns
        )
        + "</tr>"
        for row in rows
    )
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    return (
        "<h3>Sharpe ratio by parameters, mean of all symbols</h3>"
        '<div class="scroll" tabindex="0"><table class="heat"><thead><tr>'
        f"<th>{html.escape(across)}</th>{head}</tr></thead><tbody>{cells}</tbody></table></div>"
    )


def _in_order(values: Mapping[str, Any]) -> list[str]:
    def place(text: str) -> tuple[bool, float, str]:
        value = values[text]
        is_number = isinstance(value, (int, float))
        return (not is_number, float(value) if is_number else 0.0, text)

    return sorted(values, key=place)


def _trades(results: Sequence[StoredResult]) -> str:
    every = [(one.symbol, trade) for one in results for trade in one.trades]
    every.sort(key=lambda pair: -float(pair[1][0]))
    if not every:
        return ""
    rows = []
    for symbol, trade in every[:MOST_TRADES]:
        opened, closed, quantity, bought, sold, profit = trade
        rows.append(
            [
                f"{utc(opened):%Y-%m-%d %H:%M}", symbol,
                f"{utc(closed):%Y-%m-%d %H:%M}" if closed is not None else "open",
                f"{quantity:,.6g}", f"{bought:,.6g}", f"{sold:,.6g}", _signed(profit, money=True),
            ]
        )  # fmt: skip
    count = f"{len(every)} trades" + (f", the newest {len(rows)}" if len(rows) < len(every) else "")
    head = ["Opened (UTC)", "Symbol", "Closed", "Quantity", "Price", "Closing price", "Profit"]
    return f"<details><summary>{count}</summary>{_html_table(head, rows)}</details>"


def _list(title: str, texts: Sequence[str]) -> str:
    if not texts:
        return ""
    items = "".join(f"<li>{html.escape(text)}</li>" for text in texts[:100])
    more = f"<li>… and {len(texts) - 100} more</li>" if len(texts) > 100 else ""
    return f'<h2>{title}</h2><ul class="list">{items}{more}</ul>'


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are escaped unless they are ours: those of :func:`_signed`."""
    made = "".join(
        "<tr>" + "".join(f"<td>{one if one.startswith('<span class=') else html.escape(one)}</td>"
                         for one in row) + "</tr>"
        for row in rows
    )  # fmt: skip
    names = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{names}</tr></thead>'
        f"<tbody>{made}</tbody></table></div>"
    )


def _signed(value: float, *, money: bool = False) -> str:
    if math.isnan(value):
        return "–"
    text = f"{value:+,.2f}" if money else f"{value:+.2%}"
    return f'<span class="{"up" if value > 0 else "down" if value < 0 else "quiet"}">{text}</span>'


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1%}"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _whole(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.0f}"
