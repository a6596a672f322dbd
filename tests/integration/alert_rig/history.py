"""What was scraped, in a real Prometheus, and what the shipped rules would have fired on it."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import aiohttp

from exporter.alerts.api_clients import PrometheusClient
from exporter.alerts.replay.engine import Fired, replay
from exporter.alerts.replay.rules import read_rules
from tests.generations import Generation
from tests.integration.alert_rig.life import RULES
from tests.integration.processes import Program, answers, free_port, wait_for

EVALUATION = 60.0


@contextmanager
def served(
    samples: Path, folder: Path, generation: Generation, stale_after: float
) -> Iterator[str]:
    """The address of a Prometheus that has these OpenMetrics; a series that was not seen for so
    many seconds is over."""
    subprocess.run(
        [
            generation.program("promtool"), "tsdb", "create-blocks-from",
            "--max-block-duration=486h", "openmetrics", "-q", samples, folder / "tsdb",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    port = free_port()
    (folder / "prometheus.yml").write_text("{}")
    prometheus = [
        generation.program("prometheus"), f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/tsdb", "--storage.tsdb.retention.time=50y",
        f"--query.lookback-delta={stale_after:.0f}s", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with Program(prometheus, folder / "prometheus.log"):
        wait_for(lambda: answers(f"{url}/-/ready"), "Prometheus to be ready")
        yield url


def fired(url: str, spans: Sequence[tuple[float, float]]) -> list[Fired]:
    """What the rules and packs would have fired in each span."""

    async def ask() -> list[Fired]:
        async with aiohttp.ClientSession() as client:
            prometheus = PrometheusClient(client, lambda: url)
            rules = read_rules(RULES)
            return [
                one
                for begin, end in spans
                for one in await replay(prometheus, rules, begin, end, EVALUATION)
            ]

    return asyncio.run(ask())
