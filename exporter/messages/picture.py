"""The small picture of a message: lines over days, or bars, as a PNG. Needs Pillow."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from exporter.messages.message import Chart

WIDTH, HEIGHT, EDGE = 720, 300, 16
"""Pixels of one chart."""
MOST_LINES, MOST_BARS = 6, 16
_INK, _FAINT, _PAPER, _UP, _DOWN = "#1f2430", "#c9ced6", "#ffffff", "#1a7f4b", "#c0392b"
_LINES = ("#2962c4", "#c77700", "#1a7f4b", "#8e44ad", "#c0392b", "#4b5563")


def png(charts: Sequence[Chart]) -> bytes | None:
    """All charts below each other; None when they show nothing."""
    shown = [chart for chart in charts if any(_known(v) for v in chart.series.values())]
    if not shown:
        return None
    image = Image.new("RGB", (WIDTH, HEIGHT * len(shown)), _PAPER)
    draw = ImageDraw.Draw(image)
    for number, chart in enumerate(shown):
        top = HEIGHT * number
        draw.text((EDGE, top + 12), chart.title, _INK, font=_font(20))
        lines = any(len(_known(values)) > 1 for values in chart.series.values())
        (_lines if lines else _bars)(draw, chart, top + 48)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def _lines(draw: ImageDraw.ImageDraw, chart: Chart, top: int) -> None:
    series = list(chart.series.items())[:MOST_LINES]
    known = [value for _, values in series for value in _known(values)]
    low, high = min(0.0, *known), max(0.0, *known)
    span, bottom = (high - low) or 1.0, top + HEIGHT - 48 - 44
    left, right = EDGE + 76, WIDTH - EDGE

    def y(value: float) -> float:
        return bottom - (value - low) / span * (bottom - top)

    for level in sorted({low, 0.0, high}):
        draw.line([(left, y(level)), (right, y(level))], _FAINT)
        draw.text((EDGE, y(level) - 8), f"{level:+.1%}", _INK, font=_font(14))
    at = left
    for (name, values), colour in zip(series, _LINES, strict=False):
        step = (right - left) / max(len(values) - 1, 1)
        points = [(left + n * step, y(v)) for n, v in enumerate(values) if v is not None]
        draw.line(points, colour, 3, joint="curve")
        draw.rectangle([at, bottom + 20, at + 14, bottom + 24], colour)
        draw.text((at + 20, bottom + 13), name[:16], _INK, font=_font(14))
        at += 34 + int(draw.textlength(name[:16], font=_font(14)))


def _bars(draw: ImageDraw.ImageDraw, chart: Chart, top: int) -> None:
    """One for each name, the largest first, from a line in the middle to the right or left."""
    found = [(name, _known(values)[-1]) for name, values in chart.series.items() if _known(values)]
    found = sorted(found, key=lambda one: -abs(one[1]))[:MOST_BARS]
    found.sort(key=lambda one: -one[1])
    largest = max(abs(value) for _, value in found) or 1.0
    height = min(32.0, (HEIGHT - 48 - EDGE) / len(found))
    size = int(min(16, max(9, height - 2)))
    names = max(draw.textlength(name[:14], font=_font(size)) for name, _ in found)
    middle = EDGE + names + 12 + (WIDTH - names - 2 * EDGE - 12) / 2
    room = WIDTH - EDGE - middle - 76
    for number, (name, value) in enumerate(found):
        y = top + number * height
        end = middle + room * value / largest
        box = [min(middle, end), y + 2, max(middle, end), y + max(4, min(height - 2, 28))]
        draw.rectangle(box, _UP if value >= 0 else _DOWN)
        draw.text((EDGE, y), name[:14], _INK, font=_font(size))
        text = f"{value:+.2%}"
        wide = draw.textlength(text, font=_font(size))
        draw.text((end + 6 if value >= 0 else end - wide - 6, y), text, _INK, font=_font(size))
    draw.line([(middle, top), (middle, top + len(found) * height)], _FAINT)
