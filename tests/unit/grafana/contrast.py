"""How well text can be read on the colours of a board, computed as Grafana 9 to 12 paint them."""

from __future__ import annotations

import colorsys
import re

RGB = tuple[float, float, float]
PANEL: dict[str, RGB] = {"light": (255, 255, 255), "dark": (24, 27, 31)}
"""What a panel is painted on, by theme."""
WHITE: RGB = (247, 248, 250)
BLACK: RGB = (32, 34, 38)
BRIGHT = 180
"""Above that Grafana writes in black."""
OPAQUE_FROM = 0.3
"""Below that it writes in the colour of the theme."""


def contrast(one: RGB, other: RGB) -> float:
    """The ratio of WCAG 2: 1 to 21, https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def on_tile(colour: str, theme: str) -> float:
    """The least contrast of text with the gradient of a tile or a cell, or the plain colour."""
    rgb, alpha = _parsed(colour)
    dark = theme == "dark"
    if alpha < OPAQUE_FROM:
        text = WHITE if dark else BLACK
    else:
        text = BLACK if _brightness(rgb) > BRIGHT else WHITE
    factor = 1 if dark else -0.7
    steps = [(15, 8), (5, -8), (10, 5), (0, 0)]
    grounds = [_darker(rgb, factor * percent / 100, spin) for percent, spin in steps]
    return min(contrast(_over(ground, alpha, PANEL[theme]), text) for ground in grounds)


def on_band(colour: str) -> float:
    """The same of a band of a timeline: white where that has 3:1, else black."""
    rgb, _ = _parsed(colour)
    white = contrast(rgb, (255, 255, 255))
    return white if white >= 3 else contrast(rgb, (0, 0, 0))


def _parsed(colour: str) -> tuple[RGB, float]:
    if colour.startswith("#"):
        red, green, blue = bytes.fromhex(colour[1:])
        return (red, green, blue), 1
    found = re.fullmatch(r"rgba\((\d+), (\d+), (\d+), ([\d.]+)\)", colour)
    assert found, f"{colour}: other names have another colour in each theme"
    red, green, blue, alpha = map(float, found.groups())
    return (red, green, blue), alpha


def _luminance(rgb: RGB) -> float:
    parts = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4
        for part in (value / 255 for value in rgb)
    ]
    return sum(part * share for part, share in zip(parts, (0.2126, 0.7152, 0.0722), strict=True))


def _brightness(rgb: RGB) -> float:
    return sum(part * share for part, share in zip(rgb, (0.299, 0.587, 0.114), strict=True))


def _darker(rgb: RGB, by: float, spin: float) -> RGB:
    red, green, blue = rgb
    hue, light, full = colorsys.rgb_to_hls(red / 255, green / 255, blue / 255)
    light = min(1.0, max(0.0, light - by))
    red, green, blue = colorsys.hls_to_rgb((hue + spin / 360) % 1, light, full)
    return 255 * red, 255 * green, 255 * blue


def _over(rgb: RGB, alpha: float, ground: RGB) -> RGB:
    red, green, blue = (alpha * a + (1 - alpha) * b for a, b in zip(rgb, ground, strict=True))
    return red, green, blue
