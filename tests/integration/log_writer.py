"""A program that logs as the exporter does, on command, while a test does things to its files.

Commands, one a line: ``log N`` logs N numbered lines, ``state`` prints what the metrics say,
``flush`` waits until all is written. With ``flood`` as the second argument it logs until killed.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry

from exporter.config import Logs
from exporter.logs.setup import Logging
from exporter.metrics import Metrics
from exporter.util.clock import SystemClock


def main(directory: str, *flood: str) -> None:
    registry = CollectorRegistry()
    config = Logs(directory=Path(directory), rotate_at="200KB" if flood else "50MB")
    logs = Logging(config, "UTC", SystemClock(), Metrics(registry), terminal_fd=None)
    logs.start()
    log, number = logging.getLogger("writer"), 0
    while flood:
        log.info("%d %s", number, "x" * 200, extra={"event": "flood"})
        number += 1
        if number % 5000 == 0:
            logs.flush()
    for command in sys.stdin:
        match command.split():
            case ["log", count]:
                for _ in range(int(count)):
                    log.info("%d %s", number, "x" * 200)
                    number += 1
            case ["flush"]:
                logs.flush(20)
            case _:
                value = registry.get_sample_value
                print(json.dumps({
                    "logged": number, "lost": value("quant_log_dropped_total"),
                    "healthy": value("quant_log_healthy"),
                    "written": value("quant_log_records_total", {"level": "info"}),
                    "trouble": logs.trouble,
                }), flush=True)  # fmt: skip
    logs.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
