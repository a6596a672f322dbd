"""Small pictures of a report as SVG: lines over time, and a heat map. Colours are the page's."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

from exporter.util.clock import utc

WIDTH, HEIGHT = 720, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 92, 8, 20, 30
"""Room for the axes, whose text is 22 high on a phone."""
COLOURS = 8
"""Classes c0, c1, … of the page."""
_MOST_POINTS = 500

Line = tuple[Sequence[float], Sequence[float]]
"""Unix seconds, and values."""


def lines(series: Mapping[str, Line], *, label: str) -> str:
    """One line for each name, values as percent, with a legend below; nothing where nothing is."""
    known = {name: _thinned(line) for name, line in series.items() if len(line[0]) > 1}
    if not known:
        return ""
    first = min(line[0][0] for line in known.values())
    last = max(line[0][-1] for line in known.values())
    values = [value for line in known.values() for value in line[1] if math.isfinite(value)]
    low, high = min(0.0, *values), max(0.0, *values)
    span = (high - low) or 1.0

    def x(at: float) -> float:
        return _LEFT + (at - first) / ((last - first) or 1.0) * (WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (high - value) / span * (HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(level):.1f}" '
        f'y2="{y(level):.1f}"/><text x="{_LEFT - 6}" y="{y(level) + 4:.1f}" '
        f'text-anchor="end">{level:+.1%}</text>'
        for level in _levels(low, high)
    ]
    for at, anchor in ((first, "start"), ((first + last) / 2, "middle"), (last, "end")):
        parts.append(
            f'<text x="{x(at):.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">'
            f"{utc(at):%Y-%m-%d}</text>"
        )
    for number, (starts, found) in enumerate(known.values()):
        points = " ".join(
            f"{x(at):.1f},{y(value):.1f}" for at, value in zip(starts, found, strict=True)
        )
        parts.append(f'<polyline class="l c{number % COLOURS}" points="{points}"/>')
    legend = "".join(
        f'<li><span class="dot b{number % COLOURS}"></span>{html.escape(name)}</li>'
        for number, name in enumerate(known)
    )
    picture = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
    return picture + (f'<ul class="legend">{legend}</ul>' if len(known) > 1 else "")


def _levels(low: float, high: float) -> list[float]:
    """Round values of the axis: at most six."""
    raw = (high - low or 1.0) / 4
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * times for times in (1, 2, 5, 10) if size * times >= raw)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _thinned(line: Line) -> Line:
    """At most so many points; the last one stays."""
    starts, values = line
    step = -(-len(starts) // _MOST_POINTS)
    places = sorted({*range(0, len(starts), step), len(starts) - 1})
    return [starts[n] for n in places], [values[n] for n in places]


def drawdowns(line: Line) -> Line:
    """How far each value is below the highest before it, as a share, 0 or less."""
    starts, values = line
    top, found = -math.inf, []
    for value in values:
        top = max(top, value)
        found.append(value / top - 1 if top > 0 else 0.0)
    return starts, found


def gains(line: Line) -> Line:
    """Each value against the first one, as a share."""
    starts, values = line
    base = values[0] if values and values[0] > 0 else math.nan
    return starts, [value / base - 1 for value in values]


def months(line: Line) -> dict[str, float]:
    """The return of each calendar month (UTC), by ``2026-11``."""
    ends: dict[str, float] = {}
    for at, value in zip(*line, strict=True):
        ends[f"{utc(at):%Y-%m}"] = value
    found, before = {}, line[1][0] if line[1] else math.nan
    for month, value in ends.items():
        found[month] = value / before - 1 if before > 0 else math.nan
        before = value
    return found


def shade(value: float, largest: float) -> str:
    """The class of a cell: p1 to p4 above 0, n1 to n4 below."""
    if not math.isfinite(value) or largest <= 0 or value == 0:
        return "z"
    return f"{'p' if value > 0 else 'n'}{max(1, math.ceil(4 * min(1.0, abs(value) / largest)))}"
