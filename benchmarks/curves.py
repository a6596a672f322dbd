"""Cost against the size of the work as one picture: a panel for what was varied (series, tasks,
pings a second, …), a line for each cost.

Both axes are logarithmic, so a cost that grows with the work rises like the dashed line, whatever
its unit; what is flatter grows more slowly, what is steeper bends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.figures import Row

WIDTH = 930
_LEFT, _RIGHT, _TOP = 62, 440, 62
_PANEL, _AXIS, _NAME = 190, 58, 18
"""Heights: of a panel at least, of what is written below it, of a line's name."""
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#9a7b00", "#56b4e9", "#8f5bb0", "#777777")
"""Told apart by people who see colours differently, too (Okabe and Ito), on white and on black."""
_STYLE = (
    "<style>text{font:13px system-ui,sans-serif;fill:#222}.t{font-weight:600;font-size:15px}"
    ".g{stroke:#ddd}.i{stroke:#888;stroke-dasharray:5 4;fill:none}.b{fill:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.g{stroke:#444}.b{fill:#16181d}}</style>"
)

Points = Sequence[tuple[float, float]]
Curves = Mapping[str, Mapping[str, Points]]
"""By what was varied and by name: pairs of size and cost, as a multiple of the first."""


def curves(rows: Iterable[Row]) -> Curves:
    """What was measured at several sizes; names have the first and the last cost with its unit."""
    found: dict[str, dict[str, list[tuple[float, Row]]]] = {}
    for row in rows:
        if row.at is not None:
            size, of = row.at
            found.setdefault(of, {}).setdefault(row.what, []).append((size, row))
    drawn: dict[str, dict[str, Points]] = {}
    for of, costs in found.items():
        for what, measured in costs.items():
            measured.sort(key=lambda pair: pair[0])
            (_, first), (_, last) = measured[0], measured[-1]
            if len(measured) > 1 and first.value > 0:
                name = f"{what}: {first.value:.3g} → {last.value:.3g} {first.unit}"
                points = [(size, row.value / first.value) for size, row in measured]
                drawn.setdefault(of, {})[name] = points
    return drawn


def picture(drawn: Curves) -> str:
    """The SVG. Without anything to draw it says so."""
    if not drawn:
        return _svg("<text x='20' y='40'>nothing was measured at several sizes</text>", 60)
    parts = [
        f"<text class='t' x='{_LEFT}' y='24'>Cost against the size of the work</text>",
        f"<text x='{_LEFT}' y='43'>times the cost at the smallest size; "
        "dashed: as the work grows</text>",
    ]
    top = float(_TOP)
    for of, lines in drawn.items():
        height = max(_PANEL, _NAME * len(lines) + 6)
        parts += _panel(_Axes.around(lines, top, height), of, lines)
        top += height + _AXIS
    return _svg("".join(parts), top)


@dataclass(frozen=True)
class _Axes:
    """Where a size and a cost are in the picture."""

    sizes: tuple[float, ...]
    low: float
    high: float
    top: float
    height: float

    @classmethod
    def around(cls, lines: Mapping[str, Points], top: float, height: float) -> _Axes:
        sizes = sorted({size for points in lines.values() for size, _ in points})
        costs = [cost for points in lines.values() for _, cost in points]
        low, high = min(*costs, 0.8), max(*costs, sizes[-1] / sizes[0] * 1.1)
        return cls(tuple(sizes), low, high, top, height)

    def x(self, size: float) -> float:
        share = math.log(size / self.sizes[0]) / math.log(self.sizes[-1] / self.sizes[0])
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def y(self, cost: float) -> float:
        share = math.log(max(cost, self.low) / self.low) / math.log(self.high / self.low)
        return self.top + self.height * (1 - share)


def _panel(axes: _Axes, of: str, lines: Mapping[str, Points]) -> Iterator[str]:
    yield from _grid(axes, of)
    smallest, largest = axes.sizes[0], axes.sizes[-1]
    yield _line(axes, [(smallest, 1.0), (largest, largest / smallest)], "class='i'")
    for points, colour in zip(lines.values(), _COLOURS * 9, strict=False):
        yield _line(axes, points, f"fill='none' stroke='{colour}' stroke-width='2.5'")
        for size, cost in points:
            at = f"cx='{axes.x(size):.1f}' cy='{axes.y(cost):.1f}'"
            yield f"<circle {at} r='3.5' fill='{colour}'/>"
    yield from _names(axes, lines)


def _grid(axes: _Axes, of: str) -> Iterator[str]:
    right, bottom = WIDTH - _RIGHT, axes.top + axes.height
    for cost in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500):
        if axes.low <= cost <= axes.high:
            y = axes.y(cost)
            yield f"<line class='g' x1='{_LEFT}' x2='{right}' y1='{y:.1f}' y2='{y:.1f}'/>"
            yield f"<text x='{_LEFT - 8}' y='{y + 4:.1f}' text-anchor='end'>{cost:g}</text>"
    for size in axes.sizes:
        x = axes.x(size)
        yield f"<line class='g' x1='{x:.1f}' x2='{x:.1f}' y1='{axes.top}' y2='{bottom}'/>"
        yield f"<text x='{x:.1f}' y='{bottom + 18}' text-anchor='middle'>{size:,.0f}</text>"
    middle = (_LEFT + right) / 2
    yield f"<text x='{middle}' y='{bottom + 36}' text-anchor='middle'>{escape(of)}</text>"


def _line(axes: _Axes, points: Points, style: str) -> str:
    path = " ".join(f"{axes.x(size):.1f},{axes.y(cost):.1f}" for size, cost in points)
    return f"<polyline points='{path}' {style}/>"


def _names(axes: _Axes, lines: Mapping[str, Points]) -> Iterator[str]:
    """Next to the end of each line, moved apart where they would cover each other."""
    ends = sorted(
        (axes.y(points[-1][1]), name, colour)
        for (name, points), colour in zip(lines.items(), _COLOURS * 9, strict=False)
    )
    left, before = WIDTH - _RIGHT + 16, axes.top - _NAME
    last = axes.top + axes.height
    for number, (at, name, colour) in enumerate(ends):
        before = min(max(at, before + _NAME), last - _NAME * (len(ends) - 1 - number))
        yield f"<rect x='{left}' y='{before - 6:.1f}' width='10' height='10' fill='{colour}'/>"
        yield f"<text x='{left + 16}' y='{before + 4:.1f}'>{escape(name)}</text>"


def _svg(content: str, height: float) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:.0f}' role='img' "
        f"aria-label='Cost against the size of the work'>{_STYLE}"
        f"<rect class='b' width='{WIDTH}' height='{height:.0f}'/>{content}</svg>\n"
    )
