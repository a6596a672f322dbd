"""``python -m benchmarks.children.seed_loop FILE…``: the review that people write themselves.

Line by line through json.loads, counting what failed and what went well in the messages. Prints the
CPU seconds of the loop alone.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from pathlib import Path


def count(path: Path) -> tuple[int, int]:
    """Messages that tell of a failed and of a good request."""
    failed = good = 0
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                record = json.loads(line) if line.startswith("{") else None
            except json.JSONDecodeError:
                continue
            if not record:
                continue
            message = record.get("message", "")
            if "no whole answer" in message or "refused" in message:
                failed += 1
            elif "took" in message:
                good += 1
    return failed, good


if __name__ == "__main__":
    began = time.process_time()
    for name in sys.argv[1:]:
        count(Path(name))
    print(time.process_time() - began)
