"""``python -m benchmarks.children.written_lines FOLDER COUNT PER_SECOND``: lines to disk.

Hands lines of 240 bytes to the log files' writer at a steady pace and waits until all are on disk.
Prints JSON: the seconds, and what the writer counts as lost.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC
from pathlib import Path

from exporter.logs.files import DayFiles, Limits
from exporter.logs.queue_writer import Line, QueueWriter
from exporter.runtime import gc_tuning as interpreter

_STEP_SECONDS = 0.01


def main(folder: Path, count: int, per_second: int) -> None:
    """Write, wait, tell."""
    interpreter.settle()
    lost: list[int] = []
    files = DayFiles("exporter", Limits(folder, UTC, 50_000_000))
    writer = QueueWriter(files, "files", on_lost=lost.append)
    writer.start()
    began, each = time.perf_counter(), round(per_second * _STEP_SECONDS)
    for first in range(0, count, each):
        now = time.time()
        for number in range(first, min(first + each, count)):
            content = b'{"number":%d,"message":"%s"}\n' % (number, b"x" * 205)
            writer.put(Line(now, "info", "bench", None, content))
        time.sleep(max(0.0, began + (first + each) / per_second - time.perf_counter()))
    handed = time.perf_counter() - began
    writer.flush(60)
    written = time.perf_counter() - began
    writer.close(60)
    json.dump({"handed": handed, "written": written, "lost": sum(lost)}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
