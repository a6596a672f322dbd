"""Reloaded again and again, with the same file and with another: nothing stays open behind it."""

from __future__ import annotations

import contextlib
import re
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.processes import Exporter, free_port, wait_for

pytestmark = pytest.mark.integration

CONFIG = """\
listen: 127.0.0.1:{port}
timezone: {zone}
code: [code]
sources:
  made_up: {{type: simulated}}
  market: {{type: tickdb, url: "http://127.0.0.1:9/v1", api_key_env: KEY,
            requests_per_minute: {budget}}}
feeds:
  coins: {{source: made_up, symbols: [{symbol}], interval: 1m, exchange: 24/7}}
strategies:
  {name}: {{equity_file: {name}.csv}}
logs:
  directory: {name}-logs
  follow:
    bot: {{path: {name}.log, patterns: {{errors: ERROR}}}}
tasks:
  {name}: {{run: "probe:coroutine", schedule: "00:00"}}
  plain: {{run: "probe:plain", schedule: "00:00"}}
  command: {{command: ["true"], schedule: "00:00"}}
"""
FIRST = {"zone": "UTC", "budget": 60, "symbol": "BTCUSDT", "name": "one"}
SECOND = {"zone": "Asia/Tokyo", "budget": 61, "symbol": "ETHUSDT", "name": "two"}
PROBE = """\
def plain(): return 1

async def coroutine(): return 1
"""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("reloads", [40, pytest.param(200, marks=pytest.mark.soak)])
def test_reloads_leave_no_file_socket_or_pipe_open(tmp_path: Path, reloads: int) -> None:
    """Every kind of them, in the exporter's own process."""
    port = free_port()
    (tmp_path / "code").mkdir()
    (tmp_path / "code/probe.py").write_text(PROBE)
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text("time,equity\n2026-11-30T10:00:00Z,100\n")
        (tmp_path / f"{name}.log").write_text("all is well\n")
    config = tmp_path / "exporter.yml"
    texts = [CONFIG.format(port=port, **values) for values in (FIRST, SECOND)]
    config.write_text(texts[0])
    with Exporter(config, {"KEY": "a-key-for-tests"}).wait_ready(port) as exporter:
        _reload(exporter, texts[0], 1)
        _reload(exporter, texts[1], 2)
        before = wait_for(lambda: _open(exporter, "two.log", "two-logs"), "the files to be open")
        for number in range(3, reloads + 3):
            _reload(exporter, texts[number // 2 % 2], number)  # each file twice
        _reload(exporter, texts[1], reloads + 3)
        wait_for(lambda: not _open(exporter) - before, "what is open to be as before", 20)
        assert exporter.stop() == 0


def _reload(exporter: Exporter, text: str, number: int) -> None:
    (exporter.folder / "exporter.yml").write_text(text)
    exporter.process.send_signal(signal.SIGHUP)
    wait_for(
        lambda: exporter.output().count("configuration reloaded") == number, f"reload {number}"
    )


def _open(exporter: Exporter, *parts: str) -> Counter[str]:
    """What is open, by kind or path, how often; nothing while one of the parts is in no path."""
    found: Counter[str] = Counter()
    for link in Path(f"/proc/{exporter.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found[re.sub(r":\[\d+\]", "", str(link.readlink()))] += 1
    seen = all(any(part in path for path in found) for part in parts)
    return found if seen else Counter()
