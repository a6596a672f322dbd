"""The largest setup that is planned for: 200 tasks, 500 symbols, and everything else turned on."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.processes import BenchmarkError, Process, free_port

TASKS = 200
SYMBOLS = 500
MODULE = """\
import asyncio, logging, time

log = logging.getLogger("bench")


async def look(context):
    began = time.time()
    log.info("looked at the slot of %.0f", context.slot or 0.0, extra={"event": "looked"})
    with open("starts", "a") as out:
        out.write(f"{context.slot or 0.0!r} {began!r}\\n")
    return 1


def add_up(context):
    return sum(range(10_000))


def burn(context):
    end = time.monotonic() + context.params.get("seconds", 3600)
    while time.monotonic() < end:
        sum(range(10_000))
"""


def symbols(count: int = SYMBOLS) -> list[str]:
    """Symbols that trade round the clock, so that a figure is the same at night."""
    return [f"C{number:03d}USDT" for number in range(count)]


def config(folder: Path, port: int, market: str, **more: Any) -> Path:
    """Write exporter.yml into `folder`, with `more` over what every figure shares; its path."""
    (folder / "code").mkdir(parents=True, exist_ok=True)
    (folder / "code/bench.py").write_text(MODULE)
    written = {
        "listen": f"127.0.0.1:{port}",
        "timezone": "UTC",
        "code": ["code"],
        # Nobody listens there: the page says so, and asks again.
        "alertmanager_url": "http://127.0.0.1:9",
        "prometheus_url": "http://127.0.0.1:9",
        "stop_timeout": "1s",
        "sources": {
            "market": {"type": "simulated", "url": f"{market}/v1", "requests_per_minute": 100_000}
        },
        **more,
    }
    path = folder / "exporter.yml"
    path.write_text(json.dumps(written, indent=1))  # JSON is YAML
    return path


def feed(count: int = SYMBOLS, poll: str = "60s") -> dict[str, Any]:
    """A feed of so many symbols."""
    return {
        "source": "market", "symbols": symbols(count), "interval": "1m", "exchange": "24/7",
        "poll": poll, "max_overdue": {"critical": "2h"}, "max_spread": {"warning": "5%"},
    }  # fmt: skip


@contextmanager
def market(folder: Path, latency_seconds: float = 0.0) -> Iterator[str]:
    """A TickDB that answers at once, or after a latency, in a process of its own; its address."""
    port = free_port()
    arguments = ["-m", "benchmarks.children.market", str(port), str(latency_seconds)]
    with Process(arguments, folder / "market.out") as process:
        process.wait_for(f"http://127.0.0.1:{port}/requests")
        yield f"http://127.0.0.1:{port}"


@contextmanager
def exporter(path: Path, port: int) -> Iterator[Process]:
    """The real command on a config; ready."""
    arguments = ["-m", "exporter", "run", "--config", str(path)]
    with Process(arguments, path.parent / "exporter.out") as process:
        process.wait_for(f"http://127.0.0.1:{port}/-/ready")
        yield process


def post(folder: Path, port: int, path: str) -> None:
    """A write with the token that the exporter made. Raises :class:`BenchmarkError`."""
    token = (folder / "var/token").read_text().strip()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", method="POST", data=b"{}",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=30):
            pass
    except OSError as error:
        raise BenchmarkError(f"POST {path}: {error}") from error
