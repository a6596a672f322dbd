"""The same by pandas, which reads the whole file each time."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pandas as pd

from benchmarks.processes import own_peak_mb


def main() -> None:
    """Print the seconds of both looks and the drawdown."""
    path, later = Path(sys.argv[1]), Path(sys.argv[2]).read_text()

    def look() -> tuple[float, float]:
        began = time.perf_counter()
        equity = pd.read_csv(path)["equity"]
        drawdown = float((1 - equity / equity.cummax()).iloc[-1])
        return drawdown, time.perf_counter() - began

    _, first = look()
    with path.open("a") as file:
        file.write(later)
    drawdown, more = look()
    memory = own_peak_mb()
    said = {"first": first, "more": more, "drawdown": drawdown, "megabytes": memory}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
