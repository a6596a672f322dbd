"""``python -m benchmarks.children.plain_follower FILE``: tail in twenty lines of Python.

Reads what is added line by line, through json.loads and two regular expressions, and writes the
moment (monotonic seconds) of each marker into ``markers`` as it meets it.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path


def main(path: Path) -> None:
    """Until it is ended."""
    failed, marker = re.compile("refused|no whole answer"), re.compile("marker")
    count = 0
    with path.open() as lines, Path("markers").open("w", buffering=1) as met:
        rest = ""
        while True:
            rest += lines.readline()
            if not rest.endswith("\n"):
                time.sleep(0.1)
                continue
            message = json.loads(rest)["message"]
            rest = ""
            count += bool(failed.search(message))
            if marker.search(message):
                met.write(f"{time.monotonic()!r}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
