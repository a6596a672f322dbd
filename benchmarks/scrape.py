"""10 000 series: how long a scrape takes, and how long the event loop stands still meanwhile."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks import building
from benchmarks.figures import OURS, Row, compared, percentile
from benchmarks.processes import Client, Process, free_port

ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
"""As Prometheus asks."""
AIOHTTP, THREAD, GO = "prometheus_client.aiohttp", "start_http_server", "client_golang"
AIM = 0.25
"""Of client_golang's time."""
_GO_SOURCE = Path(__file__).parent / "peers" / "client_golang"


def run(folder: Path, quick: bool) -> Sequence[Row]:
    """Rounds alternate between the servers: three that expose one registry from one process, and
    a Go program that exposes the same series."""
    rounds, scrapes = (1, 5) if quick else (4, 20)
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
        with contextlib.ExitStack() as stack:
            process = stack.enter_context(Process(arguments, folder / "scraped.out"))
            watch = f"http://127.0.0.1:{aiohttp_port}/stood-still"
            process.wait_for(watch)
            process.wait_for(f"http://127.0.0.1:{http_port}/metrics?name[]=none")
            if go_port := stack.enter_context(_client_golang(folder, port)):
                urls[GO] = go_port
            rows: list[Row] = []
            for name, encoding in (("plain", "identity"), ("gzip", "gzip")):
                times: dict[str, list[list[float]]] = defaultdict(list)
                still: dict[str, list[float]] = defaultdict(list)
                for _ in range(rounds):
                    for who, at in urls.items():
                        url = f"http://127.0.0.1:{at}/metrics"
                        _get(watch)
                        times[who].append(_scrape(url, encoding, scrapes))
                        if who != GO:
                            still[who].append(float(_get(watch)) * 1000)
                series = _series(f"http://127.0.0.1:{port}/metrics")
                figure = f"/metrics, {series:,} series, {name}"
                for what, share in (("p50", 0.5), ("p95", 0.95)):
                    found = {w: [percentile(each, share) for each in t] for w, t in times.items()}
                    aim = AIM * median(found[GO]) if what == "p50" and GO in found else None
                    rows += compared(figure, what, found, "ms", aim=aim)
                rows += compared(figure, "loop stood still at most", still, "ms")
            return rows


@contextlib.contextmanager
def _client_golang(folder: Path, port: int) -> Iterator[int | None]:
    """The port of a Go program with the series of ours; None where Go cannot build it."""
    program, text, go_port = folder / "client_golang", folder / "series.txt", free_port()
    if (go := shutil.which("go")) is None:
        print(" (without client_golang: there is no go)", file=sys.stderr, end="")
        yield None
        return
    built = subprocess.run(
        [go, "build", "-o", str(program), "."],
        cwd=_GO_SOURCE,
        check=False,
        capture_output=True,
        text=True,
    )
    if built.returncode:
        last = built.stderr.strip().rpartition("\n")[2]
        print(f" (without client_golang: {last})", file=sys.stderr, end="")
        yield None
        return
    text.write_bytes(_get(f"http://127.0.0.1:{port}/metrics"))
    arguments = [str(text), f"127.0.0.1:{go_port}"]
    with Process(arguments, folder / "go.out", program=str(program)) as process:
        process.wait_for(f"http://127.0.0.1:{go_port}/metrics")
        yield go_port


def _scrape(url: str, encoding: str, count: int) -> list[float]:
    with Client(url, Accept=ACCEPT, Accept_Encoding=encoding) as client:
        client.get()  # the connection is made, and caches are as warm as they get
        return [client.get().seconds * 1000 for _ in range(count)]


def _series(url: str) -> int:
    return sum(not line.startswith(b"#") for line in _get(url).splitlines())


def _get(url: str) -> bytes:
    with Client(url) as client:
        return client.get().body
