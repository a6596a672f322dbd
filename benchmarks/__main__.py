"""``python -m benchmarks [--only NAME[,NAME]] [--quick] [--out FILE]``: what `make bench` runs."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.curves import curves, picture
from benchmarks.figures import Row, machine, save, table
from benchmarks.processes import BenchmarkError

FIGURES = (
    "scrape",
    "sweep",
    "stream",
    "slots",
    "start",
    "busy_hour",
    "scale",
    "digest",
    "log_calls",
    "follow",
    "pings",
    "backtests",
    "month",
    "equity",
    "boards",
)
"""One module each, with a function ``run(folder, quick)`` that gives its rows."""


def main() -> int:
    """Run what is asked for, one after the other; 1 when a figure could not be taken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default="", help=f"some of {', '.join(FIGURES)}")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--out", type=Path, default=Path("var/bench/figures.json"))
    asked = parser.parse_args()
    chosen = [name for name in asked.only.replace(" ", ",").split(",") if name] or list(FIGURES)
    if unknown := set(chosen) - set(FIGURES):
        parser.error(f"no figure is called {', '.join(unknown)}; known: {', '.join(FIGURES)}")
    # So that what it started ends, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    facts = {**machine(), "quick": asked.quick}
    rows: list[Row] = []
    failed = False
    for name in chosen:
        began = time.monotonic()
        print(f"{name} …", file=sys.stderr, end="", flush=True)
        module = importlib.import_module(f"benchmarks.{name}")
        with tempfile.TemporaryDirectory(prefix="quant-bench-") as folder:
            try:
                rows += module.run(Path(folder), asked.quick)
            except BenchmarkError as error:
                failed = True
                print(f" could not be measured: {error}", file=sys.stderr)
                continue
        print(f" {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(f"\n{facts['cores']} cores, Python {facts['python']}, {facts['system']}\n")
    print(table(rows))
    save(asked.out, rows, facts)
    print(f"\nthe same as JSON: {asked.out}")
    if drawn := curves(rows):
        image = asked.out.with_suffix(".svg")
        image.write_text(picture(drawn), encoding="utf-8")
        print(f"cost against size: {image}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
