"""History in pages, for a server of which neither the order nor the page size is known for sure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from exporter.sources.base import Bar

PAGE_BARS = 1000

Page = Callable[[float, float], Awaitable[tuple[list[Bar], bool]]]
"""Bars that start in [start, end), oldest first, and whether there may be more of them."""


async def all_pages(page: Page, start: float, end: float, interval_seconds: float) -> list[Bar]:
    """All bars that start in [start, end), oldest first, each once.

    A page that was cut holds either the oldest or the newest bars of its range; which of the two
    shows when the range before it or after it turns out to hold bars.
    """
    bars: dict[float, Bar] = {}
    forward: bool | None = None
    low, high = start, end
    got, cut = await page(low, high)
    while got:
        bars.update((bar.start, bar) for bar in got)
        if not cut:
            break
        sides = {False: (low, got[0].start), True: (got[-1].start + 0.001, high)}  # ms in the API
        if forward is None:
            longer = sides[True][1] - sides[True][0] >= sides[False][1] - sides[False][0]
            order = [longer, not longer]
        else:
            order = [forward]
        for forward in order:
            low, high = sides[forward]
            got, cut = await _unless_short(page, low, high, interval_seconds)
            if got:
                break
    return [bars[at] for at in sorted(bars)]


async def _unless_short(
    page: Page, low: float, high: float, interval_seconds: float
) -> tuple[list[Bar], bool]:
    # The end of a session may shorten a bar, to at least half an interval on all exchanges;
    # a range shorter than that holds no further bar.
    return await page(low, high) if high - low >= interval_seconds / 2 else ([], False)
