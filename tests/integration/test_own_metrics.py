"""Metrics of users' own, from every side of a real exporter, and over a kill -9."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.processes import Exporter, free_port, post, wait_for

pytestmark = pytest.mark.integration

CONFIG = """\
listen: 127.0.0.1:{port}
code: [code]
metrics: {{positions: {{help: Open positions, labels: [strategy], max_age: 1h}}}}
textfiles: {{folder: texts}}
tasks:
  worker: {{run: "mine:worker", schedule: "00:00"}}
  coroutine: {{run: "mine:coroutine", schedule: "00:00"}}
"""
CODE = """\
def worker(context):
    assert context.gauge("positions", 3, strategy="worker")
    assert context.counter("orders", 2)
    assert context.gauge("sharpe", float("nan"))
    assert not context.gauge("quant_mine", 1)
    return 1

async def coroutine(context):
    assert context.gauge("positions", 4, strategy="coroutine")
    assert context.counter("orders")
    return 1
"""


def test_values_come_from_every_side_and_outlive_a_kill(tmp_path: Path) -> None:
    """A worker process, a coroutine, a request, a file; what was answered with 200 is kept."""
    for folder in ("code", "texts"):
        (tmp_path / folder).mkdir()
    (tmp_path / "code/mine.py").write_text(CODE)
    (tmp_path / "texts/bot.prom").write_text('positions{strategy="file"} 5\n')
    port = free_port()
    (tmp_path / "exporter.yml").write_text(CONFIG.format(port=port))
    with Exporter(tmp_path / "exporter.yml") as exporter:
        exporter.wait_ready(port)
        for task in ("worker", "coroutine"):
            post(f"{exporter.url}/api/v1/tasks/{task}/run", exporter.token)
        value = {"name": "positions", "value": 6, "labels": {"strategy": "request"}}
        broken = {"name": "positions", "value": 1, "labels": {"other": "x"}}
        url = f"{exporter.url}/api/v1/metrics"
        status, answer = post(url, exporter.token, {"metrics": [value, broken]})
        assert (status, [one["index"] for one in answer["refused"]]) == (200, [1])
        assert post(url, exporter.token, broken)[0] == 400
        expected = {
            'positions{strategy="worker"}': 3.0, 'positions{strategy="coroutine"}': 4.0,
            'positions{strategy="file"}': 5.0, 'positions{strategy="request"}': 6.0,
            "orders_total": 3.0, 'quant_custom_refused_total{reason="name"}': 1.0,
        }  # fmt: skip
        seen = wait_for(
            lambda: (got := exporter.metrics()).items() >= expected.items() and got, "all values"
        )
        assert seen["sharpe"] != seen["sharpe"]
        assert post(url, exporter.token, value | {"value": 7})[0] == 200
        exporter.kill()
    with Exporter(tmp_path / "exporter.yml") as exporter:
        exporter.wait_ready(port)
        seen = exporter.metrics()
        assert seen['positions{strategy="request"}'] == 7.0
