"""``python -m benchmarks.children.growing FILE MB_PER_SECOND SECONDS``: a program that logs a lot.

Adds JSON lines at a steady pace, ten times a second with a line that says "marker" among them.
Prints as JSON the moments (monotonic seconds) at which each marker was in the file.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path

from benchmarks.children import records

_STEP_SECONDS = 0.01
_MARKER = b'{"level":"info","logger":"my_bot","message":"marker"}\n'


def main(path: Path, megabytes_per_second: float, seconds: float) -> None:
    """Write, tell."""
    lines = b"".join(records.lines(10_000))
    step = int(megabytes_per_second * 1e6 * _STEP_SECONDS)
    blocks = itertools.cycle(_whole_lines(lines, step))
    markers: list[float] = []
    began = time.monotonic()
    with path.open("ab", buffering=0) as out:
        for number in range(round(seconds / _STEP_SECONDS)):
            out.write(next(blocks))
            if number % 10 == 0:
                out.write(_MARKER)
                markers.append(time.monotonic())
            time.sleep(max(0.0, began + (number + 1) * _STEP_SECONDS - time.monotonic()))
    json.dump({"markers": markers, "seconds": time.monotonic() - began}, sys.stdout)


def _whole_lines(lines: bytes, size: int) -> list[bytes]:
    blocks, start = [], 0
    while start < len(lines):
        end = lines.find(b"\n", min(start + size, len(lines) - 1)) + 1
        blocks.append(lines[start:end])
        start = end
    return blocks


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
