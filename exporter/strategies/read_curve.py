"""A strategy's curve after a look at its file."""

from __future__ import annotations

import heapq
import math
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from exporter.config import Strategy
from exporter.strategies.equity import EquityCurve
from exporter.strategies.equity_point import EquityPoint
from exporter.strategies.file import BadLine, EquityFilePosition, Restart, read_new
from exporter.util.clock import iso
from exporter.util.give_way import GiveWay
from exporter.util.nan import NAN

_SORTED_AT_ONCE = 20_000
MOST_NEW = 10_000
"""Points of one look that are kept in the ledger."""


@dataclass
class CurveRead:
    """What a look at a file brought. ``late`` counts points that are older than one before them.

    Of unusable lines the first is kept: a file may have a million of them.
    """

    curve: EquityCurve
    good: int = 0
    bad: int = 0
    first_bad: BadLine | None = None
    late: int = 0
    first_late: int = 0
    last_bad: BadLine | None = None
    """The file's newest row, if that is not usable: the curve ends before it."""
    lost: bool = False
    """The file had rows once, and has none now."""
    new: deque[EquityPoint] = field(default_factory=lambda: deque(maxlen=MOST_NEW))
    """The points that the curve did not have, the newest of them."""
    rewritten: float = NAN
    """A moment whose points before are replaced by the new ones."""

    def observe(self, point: EquityPoint, days: ZoneInfo) -> None:
        """One more point that the curve does not have."""
        if not self.curve.is_past(point):
            self.new.append(point)
        self.curve = self.curve.observe(point, days)

    def add_bad(self, line: BadLine) -> None:
        """One more unusable line."""
        self.bad += 1
        self.first_bad = self.first_bad or line
        self.last_bad = line if line.dated else self.last_bad


def read_curve(
    curve: EquityCurve,
    path: Path,
    position: EquityFilePosition,
    strategy: Strategy,
    *,
    zone: ZoneInfo,
    latest: float,
    days: ZoneInfo | None = None,
) -> CurveRead:
    """`curve` with what is new in the file after `position`, which moves on; points after `latest`
    are unusable. `zone` is that of times without an offset, `days` that of the curve's days. Raises
    :class:`OSError`."""
    read, rows = CurveRead(curve), _Rows()
    days = days or zone
    titles, first_title = 0, None
    from_start, rotated, first_look = False, False, position.inode == 0
    give_way = GiveWay()
    for found in read_new(path, position, strategy, zone):
        give_way()
        if isinstance(found, Restart):
            from_start, rotated = True, found.rotated
        elif isinstance(found, BadLine) and found.above_header:
            titles, first_title = titles + 1, first_title or found
        elif isinstance(found, BadLine):
            read.add_bad(found)
        elif found.at > latest:
            problem = f"timestamp {iso(found.at)} lies in the future"
            read.add_bad(BadLine(position.line, str(found.equity), problem, dated=True))
        elif from_start:
            rows.append(found)
            read.last_bad = None
        else:
            read.good += 1
            read.last_bad = None
            if read.curve.is_past(found):
                read.first_late = read.first_late or position.line
                read.late += 1
            read.observe(found, days)
    if from_start:
        read.good += len(rows)
        read.lost = not (first_look or rotated or read.good or read.bad or titles)
        replay = _first_replay if first_look else _replay
        replay(read, rows, days)
    if not (read.good or read.bad or position.layout.columns):
        read.bad, read.first_bad = titles, first_title
    return read


def _first_replay(read: CurveRead, rows: _Rows, zone: ZoneInfo) -> None:
    """The first look at a file; points that were posted before stay in the curve."""
    curve = read.curve
    if not math.isnan(curve.at):
        history = EquityCurve(begun_after=curve.begun_after)
        for point in rows.in_order():
            if point.at < curve.at and not history.is_past(point):
                read.new.append(point)
                history = history.observe(point, zone)
        peak = max(curve.peak, history.peak) if history.peak > 0 else curve.peak
        read.curve = replace(curve, peak=peak)
    _replay(read, rows, zone)


def _replay(read: CurveRead, rows: _Rows, zone: ZoneInfo) -> None:
    """A file that was read from its start, in the order of its times.

    Older rows were seen before. Those of the curve's newest moment replace what it has: a
    program may keep today's row up to date in place.
    """
    newest, rewound = read.curve.at, False
    for point in rows.in_order():
        if point.at < newest:
            continue
        if point.at == newest and not rewound:
            if read.curve.before is None:
                continue
            read.curve, read.rewritten, rewound = read.curve.rewind(), newest, True
        read.observe(point, zone)


class _Rows:
    """Points of a file as plain numbers: a million of them take 24 MB."""

    def __init__(self) -> None:
        self._columns = array("d"), array("d"), array("d")

    def __len__(self) -> int:
        return len(self._columns[0])

    def append(self, point: EquityPoint) -> None:
        for column, value in zip(self._columns, (point.at, point.equity, point.flow), strict=True):
            column.append(value)

    def in_order(self) -> Iterator[EquityPoint]:
        """Oldest first; those of one moment in the order of the file's direction."""
        times = self._columns[0]
        rows = range(len(times))
        order: Iterable[int] = rows
        if any(b < a for a, b in pairwise(times)):
            rows = rows[::-1] if times[0] > times[-1] else rows
            # Piece by piece: sorting a million at once would keep the event loop from turning.
            pieces = (rows[n : n + _SORTED_AT_ONCE] for n in range(0, len(rows), _SORTED_AT_ONCE))
            runs = [array("L", sorted(piece, key=times.__getitem__)) for piece in pieces]
            order = heapq.merge(*runs, key=times.__getitem__)
        give_way = GiveWay()
        for n in order:
            give_way()
            yield EquityPoint(*(column[n] for column in self._columns))
