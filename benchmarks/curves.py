"""Cost against size as one picture: each row that was measured at several sizes is a line.

Both axes are logarithmic, so a cost that grows with the work rises like the dashed line, whatever
its unit; what is flatter grows more slowly, what is steeper bends.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

from benchmarks.figures import Row

WIDTH, HEIGHT = 930, 470
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 420, 58, 48
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8c6d00", "#56b4e9", "#7f3c8d", "#444444")
"""Told apart by people who see colours differently, too (Okabe and Ito)."""
_SERIES = re.compile(r"([\d,]+) series$")
_STYLE = (
    "<style>text{font:13px system-ui,sans-serif;fill:#222}.t{font-weight:600;font-size:15px}"
    ".g{stroke:#ddd}.i{stroke:#888;stroke-dasharray:5 4;fill:none}.b{fill:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.g{stroke:#444}.b{fill:#16181d}}</style>"
)

Points = Sequence[tuple[float, float]]
Scale = Callable[[float], float]


def curves(rows: Iterable[Row]) -> dict[str, Points]:
    """What was measured at several numbers of series: pairs of series and cost, as a multiple of
    the cost at the fewest. The unit is in the name."""
    found: dict[str, list[tuple[float, Row]]] = {}
    for row in rows:
        if match := _SERIES.search(row.figure):
            found.setdefault(row.what, []).append((float(match[1].replace(",", "")), row))
    drawn: dict[str, Points] = {}
    for what, measured in found.items():
        measured.sort(key=lambda pair: pair[0])
        (_, first), (_, last) = measured[0], measured[-1]
        if len(measured) > 1 and first.value > 0:
            name = f"{what}: {first.value:.3g} → {last.value:.3g} {first.unit}"
            drawn[name] = [(size, row.value / first.value) for size, row in measured]
    return drawn


def picture(drawn: Mapping[str, Points]) -> str:
    """The SVG. Without anything to draw it says so."""
    sizes = sorted({size for points in drawn.values() for size, _ in points})
    if len(sizes) < 2:
        return _svg("<text x='20' y='40'>nothing was measured at several sizes</text>")
    growth = sizes[-1] / sizes[0]
    costs = [cost for points in drawn.values() for _, cost in points]
    low, high = min(*costs, 0.8), max(*costs, growth * 1.1)

    def x(size: float) -> float:
        share = math.log(size / sizes[0]) / math.log(growth)
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def y(cost: float) -> float:
        share = math.log(max(cost, low) / low) / math.log(high / low)
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)

    parts = [
        f"<text class='t' x='{_LEFT}' y='24'>Cost against size</text>",
        f"<text x='{_LEFT}' y='43'>times the cost at {sizes[0]:,.0f} series; "
        "dashed: as the work grows</text>",
        *_grid(sizes, x, y, low, high),
        _line([(sizes[0], 1.0), (sizes[-1], growth)], x, y, "class='i'"),
    ]
    for points, colour in zip(drawn.values(), _COLOURS * 9, strict=False):
        style = f"fill='none' stroke='{colour}' stroke-width='2.5'"
        parts.append(_line(points, x, y, style))
        parts += [
            f"<circle cx='{x(size):.1f}' cy='{y(cost):.1f}' r='3.5' fill='{colour}'/>"
            for size, cost in points
        ]
    return _svg("".join(parts) + _names(drawn, y))


def _grid(sizes: Sequence[float], x: Scale, y: Scale, low: float, high: float) -> list[str]:
    right = WIDTH - _RIGHT
    lines = []
    for cost in (0.5, 1, 2, 5, 10, 20, 50, 100):
        if low <= cost <= high:
            lines.append(f"<line class='g' x1='{_LEFT}' x2='{right}' y1='{y(cost):.1f}' "
                         f"y2='{y(cost):.1f}'/><text x='{_LEFT - 8}' y='{y(cost) + 4:.1f}' "
                         f"text-anchor='end'>{cost:g}</text>")  # fmt: skip
    for size in sizes:
        lines.append(f"<line class='g' x1='{x(size):.1f}' x2='{x(size):.1f}' y1='{_TOP}' "
                     f"y2='{HEIGHT - _BOTTOM}'/><text x='{x(size):.1f}' y='{HEIGHT - 28}' "
                     f"text-anchor='middle'>{size:,.0f}</text>")  # fmt: skip
    middle = (_LEFT + right) / 2
    return [*lines, f"<text x='{middle}' y='{HEIGHT - 8}' text-anchor='middle'>series</text>"]


def _line(points: Points, x: Scale, y: Scale, style: str) -> str:
    path = " ".join(f"{x(size):.1f},{y(cost):.1f}" for size, cost in points)
    return f"<polyline points='{path}' {style}/>"


def _names(drawn: Mapping[str, Points], y: Scale) -> str:
    """Next to the end of each line, moved apart where they would cover each other."""
    ends = sorted(
        (y(points[-1][1]), name, colour)
        for (name, points), colour in zip(drawn.items(), _COLOURS * 9, strict=False)
    )
    text, before = "", _TOP - 18.0
    left = WIDTH - _RIGHT + 14
    room = HEIGHT - _BOTTOM - 18.0 * len(ends)
    for number, (at, name, colour) in enumerate(ends):
        before = min(max(at, before + 18), room + 18.0 * (number + 1))
        text += f"<rect x='{left}' y='{before - 6:.1f}' width='10' height='10' fill='{colour}'/>"
        text += f"<text x='{left + 16}' y='{before + 4:.1f}'>{escape(name)}</text>"
    return text


def _svg(content: str) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' "
        f"aria-label='Cost against size'>{_STYLE}"
        f"<rect class='b' width='{WIDTH}' height='{HEIGHT}'/>{content}</svg>\n"
    )
