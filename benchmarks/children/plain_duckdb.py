"""``python -m benchmarks.children.plain_duckdb FILE``: count by level, logger and event, no more.

Prints the CPU seconds of the query alone.
"""

from __future__ import annotations

import os
import sys
import time

import duckdb

_QUERY = """
  SELECT level, logger, event, count(*)
  FROM read_json_auto(?, format = 'newline_delimited') GROUP BY ALL
"""

if __name__ == "__main__":
    connection = duckdb.connect(config={"threads": str(min(2, os.cpu_count() or 1))})
    began = time.process_time()
    connection.execute(_QUERY, [sys.argv[1]]).fetchall()
    print(time.process_time() - began)
