"""A strategy's curve after a look at its file."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from exporter.config import Strategy
from exporter.strategies.equity import EquityCurve
from exporter.strategies.equity_point import EquityPoint
from exporter.strategies.file import BadLine, EquityFilePosition, Restart, read_new
from exporter.util.clock import iso


@dataclass
class CurveRead:
    """What a look at a file brought. ``late`` counts points that are older than one before them."""

    curve: EquityCurve
    good: int = 0
    bad: list[BadLine] = field(default_factory=list)
    late: int = 0
    first_late: int = 0


def read_curve(
    curve: EquityCurve,
    path: Path,
    position: EquityFilePosition,
    strategy: Strategy,
    *,
    zone: ZoneInfo,
    latest: float,
) -> CurveRead:
    """`curve` with what is new in the file after `position`, which moves on; points after `latest`
    are unusable. Raises :class:`OSError`."""
    read, rows = CurveRead(curve), _Rows()
    from_start, first_look = False, position.inode == 0
    for found in read_new(path, position, strategy, zone):
        if isinstance(found, Restart):
            from_start = True
        elif isinstance(found, BadLine):
            read.bad.append(found)
        elif found.at > latest:
            problem = f"timestamp {iso(found.at)} lies in the future"
            read.bad.append(BadLine(position.line, str(found.equity), problem))
        elif from_start:
            rows.append(found)
        else:
            read.good += 1
            if found.at < read.curve.at:
                read.first_late = read.first_late or position.line
                read.late += 1
            read.curve = read.curve.observe(found, zone)
    if from_start:
        read.good += len(rows)
        replay = _first_replay if first_look else _replay
        read.curve = replay(read.curve, rows, zone)
    if read.good or any(not line.above_header for line in read.bad) or position.layout.columns:
        read.bad = [line for line in read.bad if not line.above_header]
    return read


def _first_replay(curve: EquityCurve, rows: _Rows, zone: ZoneInfo) -> EquityCurve:
    """The curve after the first look at a file; points that were posted before stay in it."""
    if math.isnan(curve.at):
        return _replay(curve, rows, zone)
    history = EquityCurve()
    for point in rows.in_order():
        if point.at < curve.at:
            history = history.observe(point, zone)
    peak = max(curve.peak, history.peak) if history.peak > 0 else curve.peak
    return _replay(replace(curve, peak=peak), rows, zone)


def _replay(curve: EquityCurve, rows: _Rows, zone: ZoneInfo) -> EquityCurve:
    """The curve after a file that was read from its start, in the order of its times.

    Older rows were seen before. Those of the curve's newest moment replace what it has: a
    program may keep today's row up to date in place.
    """
    newest, rewound = curve.at, False
    for point in rows.in_order():
        if point.at < newest:
            continue
        if point.at == newest and not rewound:
            if curve.before is None:
                continue
            curve, rewound = curve.rewind(), True
        curve = curve.observe(point, zone)
    return curve


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
        order: Sequence[int] = range(len(times))
        if any(b < a for a, b in pairwise(times)):
            newest_first = times[0] > times[-1]
            order = sorted(reversed(order) if newest_first else order, key=times.__getitem__)
        for n in order:
            yield EquityPoint(*(column[n] for column in self._columns))
