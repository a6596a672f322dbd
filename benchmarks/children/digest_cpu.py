"""``python -m benchmarks.children.digest_cpu``: a digest's request as JSON in, its records and CPU
seconds out, without the start of Python and its imports."""

from __future__ import annotations

import json
import sys
import time

from exporter.logs.digest.build import build
from exporter.logs.digest.facts import Request

if __name__ == "__main__":
    request = Request.from_json(json.load(sys.stdin))
    began = time.process_time()
    digest = build(request)
    print(json.dumps([digest.records, time.process_time() - began]))
