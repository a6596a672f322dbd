"""10 000 series: how long a scrape takes, and how long the event loop stands still meanwhile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmarks import building
from benchmarks.figures import OURS, Row, compared, percentile
from benchmarks.processes import Client, Process, free_port

ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
"""As Prometheus asks."""
AIOHTTP, THREAD = "prometheus_client.aiohttp", "start_http_server"


def run(folder: Path, quick: bool) -> Sequence[Row]:
    """Rounds alternate between the three servers, which expose one registry from one process."""
    rounds, scrapes = (2, 5) if quick else (4, 20)
    port, aiohttp_port, http_port = free_port(), free_port(), free_port()
    urls = {OURS: port, AIOHTTP: aiohttp_port, THREAD: http_port}
    with building.market(folder) as market:
        path = building.config(
            folder, port, market, feeds={"coins": building.feed()},
            tasks={
                f"task_{n:03d}": {"run": "bench:look", "schedule": "03:00 Asia/Tokyo"}
                for n in range(building.TASKS)
            },
        )  # fmt: skip
        arguments = ["-m", "benchmarks.children.scraped", str(path)]
        arguments += [str(aiohttp_port), str(http_port)]
        with Process(arguments, folder / "scraped.out") as process:
            watch = f"http://127.0.0.1:{aiohttp_port}/stood-still"
            process.wait_for(watch)
            process.wait_for(f"http://127.0.0.1:{http_port}/metrics?name[]=none")
            rows: list[Row] = []
            for name, encoding in (("plain", "identity"), ("gzip", "gzip")):
                times: dict[str, list[list[float]]] = defaultdict(list)
                still: dict[str, list[float]] = defaultdict(list)
                for _ in range(rounds):
                    for who, at in urls.items():
                        url = f"http://127.0.0.1:{at}/metrics"
                        _get(watch)
                        times[who].append(_scrape(url, encoding, scrapes))
                        still[who].append(float(_get(watch)) * 1000)
                series = _series(f"http://127.0.0.1:{port}/metrics")
                figure = f"/metrics, {series:,} series, {name}"
                for what, share in (("p50", 0.5), ("p95", 0.95)):
                    found = {w: [percentile(each, share) for each in t] for w, t in times.items()}
                    rows += compared(figure, what, found, "ms")
                rows += compared(figure, "loop stood still at most", still, "ms")
            return rows


def _scrape(url: str, encoding: str, count: int) -> list[float]:
    with Client(url, Accept=ACCEPT, Accept_Encoding=encoding) as client:
        client.get()  # the connection is made, and caches are as warm as they get
        return [client.get().seconds * 1000 for _ in range(count)]


def _series(url: str) -> int:
    return sum(not line.startswith(b"#") for line in _get(url).splitlines())


def _get(url: str) -> bytes:
    with Client(url) as client:
        return client.get().body
