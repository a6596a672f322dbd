"""The process of its own in which a digest is made: a request as JSON in, the digest as JSON out.

It imports no more than it needs, because it starts for each digest.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys

from exporter.logs.digest.build import build
from exporter.logs.digest.facts import Request

NICE = 10
"""The exporter's own work goes first."""


def _main() -> None:
    with contextlib.suppress(OSError):
        os.nice(NICE)
    digest = build(Request.from_json(json.load(sys.stdin)))
    json.dump(digest.to_json(), sys.stdout)


if __name__ == "__main__":
    _main()
