"""Thirty days as a small picture: a bar a day, the failed part of it on top."""

from __future__ import annotations

import math
from dataclasses import dataclass

DAYS = 30
WIDTH, HEIGHT = 120, 24
_STEP = WIDTH // DAYS
_LEAST = 5.0
"""Of a failed part: one failure of a thousand runs is seen, too."""


@dataclass(frozen=True)
class Bars:
    """SVG paths in a box of 120 x 24, and the same in words."""

    good: str
    failed: str
    empty: str
    words: str


def draw(shares: tuple[float, ...], what: str) -> Bars:
    """`shares` are the good part of each day, oldest first, 0 to 1; NaN where nothing is known.
    `what` says what a good day is."""
    good, failed, empty = [], [], []
    known = [share for share in shares if not math.isnan(share)]
    for place, share in enumerate(shares):
        x = WIDTH - _STEP * (len(shares) - place)
        if math.isnan(share):
            empty.append(f"M{x} {HEIGHT - 2}h3v2h-3z")
            continue
        top = 0.0 if share >= 1 else max(_LEAST, HEIGHT * (1 - share))
        if top:
            failed.append(f"M{x} 0h3v{top:g}h-3z")
        if top < HEIGHT:
            good.append(f"M{x} {top:g}h3v{HEIGHT - top:g}h-3z")
    bad_days = sum(share < 1 for share in known)
    words = (
        f"Last {len(shares)} days: {what} on {len(known) - bad_days} of {len(known)} "
        f"day{'' if len(known) == 1 else 's'}"
        if known
        else f"Nothing is known of the last {len(shares)} days"
    )
    return Bars("".join(good), "".join(failed), "".join(empty), words)
