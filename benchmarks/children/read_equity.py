"""An equity file by the exporter's own reader; then once more after rows were appended."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from zoneinfo import ZoneInfo

from benchmarks.processes import own_peak_mb
from exporter.config import Strategy
from exporter.strategies.equity import EquityCurve
from exporter.strategies.file import EquityFilePosition
from exporter.strategies.read_curve import read_curve


def main() -> None:
    """Print the seconds of both looks and the drawdown."""
    path, later = Path(sys.argv[1]), Path(sys.argv[2]).read_text()
    position, strategy, zone = EquityFilePosition(), Strategy(), ZoneInfo("UTC")

    def look(curve: EquityCurve) -> tuple[EquityCurve, float]:
        began = time.perf_counter()
        read = read_curve(curve, path, position, strategy, zone=zone, latest=math.inf)
        return read.curve, time.perf_counter() - began

    curve, first = look(EquityCurve())
    with path.open("a") as file:
        file.write(later)
    curve, more = look(curve)
    memory = own_peak_mb()
    said = {"first": first, "more": more, "drawdown": curve.drawdown, "megabytes": memory}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
