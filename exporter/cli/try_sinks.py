"""``quant-exporter sinks``."""

from __future__ import annotations

import asyncio

from exporter.cli.with_config import complain
from exporter.demo.sinks import serve
from exporter.util.clock import SystemClock
from exporter.web.server import cannot_listen


def sinks(listen: str, smtp_port: int) -> int:
    """Stand-ins for Slack, PagerDuty, mail and a dead-man service until Ctrl-C."""
    host, _, port = listen.rpartition(":")
    if not port.isdigit():
        complain("--listen is host:port")
        return 2
    try:
        asyncio.run(serve(host, int(port), smtp_port, SystemClock()))
    except OSError as error:
        complain(cannot_listen(listen, error))
        return 1
    return 0
