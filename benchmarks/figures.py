"""What a benchmark found, as rows of one table and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Literal

Better = Literal["less", "more"]


@dataclass(frozen=True)
class Row:
    """One value: what was measured, of whom, how much.

    `ours` is the same figure of quant-exporter where this one is of somebody else; the ratio then
    says how many times better ours is. `aim` is the most (or, where more is better, the least) that
    was aimed at. `at` is the size of the work where that was varied, such as (500, "symbols"):
    such rows are points of a curve.
    """

    figure: str
    what: str
    who: str
    value: float
    unit: str
    better: Better = "less"
    ours: float | None = None
    aim: float | None = None
    note: str = ""
    at: tuple[float, str] | None = None

    @property
    def ratio(self) -> float | None:
        """How many times better ours is; None where there is nothing to compare."""
        if not self.ours or not self.value:
            return None
        return self.value / self.ours if self.better == "less" else self.ours / self.value

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None without one."""
        if self.aim is None:
            return None
        return self.value <= self.aim if self.better == "less" else self.value >= self.aim


OURS = "quant-exporter"


def compared(
    figure: str,
    what: str,
    values: Mapping[str, Sequence[float]],
    unit: str,
    *,
    better: Better = "less",
    aim: float | None = None,
    note: str = "",
) -> list[Row]:
    """The median of each contender's rounds, ours first."""
    found = {who: median(rounds) for who, rounds in values.items() if rounds}
    ours = found[OURS]
    rows = [Row(figure, what, OURS, ours, unit, better, aim=aim, note=note)]
    return rows + [
        Row(figure, what, who, value, unit, better, ours=ours)
        for who, value in found.items()
        if who != OURS
    ]


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(rows: Iterable[Row]) -> str:
    """All rows, one figure below the other."""
    head = ("figure", "what", "who", "value", "ours is", "aim", "")
    lines = [head]
    before = ("", "")
    for row in rows:
        figure = row.figure if row.figure != before[0] else ""
        what = row.what if (row.figure, row.what) != before else ""
        before = (row.figure, row.what)
        ratio = f"{row.ratio:.2g} times as good" if row.ratio else ""
        sign = "<" if row.better == "less" else ">"
        aim = "" if row.aim is None else f"{sign} {_number(row.aim)} {row.unit}"
        met = {True: "met", False: "MISSED", None: ""}[row.met]
        value = f"{_number(row.value)} {row.unit}"
        lines.append(
            (figure, what, row.who, value, ratio, aim, " ".join(filter(None, (met, row.note))))
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column == 3 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def machine() -> dict[str, object]:
    """What the figures were taken on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": os.getloadavg()[0],
    }


def save(path: Path, rows: Iterable[Row], facts: dict[str, object]) -> None:
    """Everything as JSON, with ratios and whether aims were met."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = [{**asdict(row), "ratio": row.ratio, "met": row.met} for row in rows]
    path.write_text(json.dumps({**facts, "figures": found}, indent=1) + "\n")
