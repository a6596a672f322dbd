"""kill -9 of either side while a strategy pushes: nothing twice, nothing lost, no peak lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest

from exporter.state import ledger
from tests.integration.processes import ROOT, Exporter, free_port, get, wait_for

pytestmark = pytest.mark.integration

CONFIG = """\
listen: 127.0.0.1:{port}
strategies:
  m: {{currency: USD}}
tasks:
  etl: {{external: true, schedule: "every 1h"}}
"""

STRATEGY = """
import itertools, random, sys, time
sys.path.insert(0, {folder!r})
from push import Push

push = Push("http://127.0.0.1:{port}", token_file={token!r}, spool={spool!r})
first = int(sys.argv[1])
said = open({said!r}, "a", buffering=1)
for n in itertools.count(first):
    equity = 1000 + (n * 7919) % 500
    if push.equity("m", str(equity) + ".10"):
        said.write(f"equity {{equity}}\\n")
    if push.fill("m", "A.US", "buy", "0.10", 1, id=f"fill-{{n}}"):
        said.write(f"fill fill-{{n}}\\n")
    push.positions("m", {{"A.US": n}})
    push.ping("etl", items=1)
    time.sleep(0.02)
"""


def test_kills_of_either_side_lose_and_double_nothing(tmp_path: Path) -> None:
    """What a call said is kept is in the ledger once, and the peak is the highest of it."""
    port = free_port()
    config, said = tmp_path / "exporter.yml", tmp_path / "said"
    config.write_text(CONFIG.format(port=port))
    (tmp_path / "push.py").write_text((ROOT / "exporter/push.py").read_text())
    spool = tmp_path / "spool"
    program = tmp_path / "strategy.py"
    program.write_text(
        STRATEGY.format(folder=str(tmp_path), port=port, token=str(tmp_path / "var/token"),
                        spool=str(spool), said=str(said))
    )  # fmt: skip

    def strategy(first: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-I", str(program), str(first)])

    running = strategy(0)
    try:
        for round_ in range(1, 4):
            with Exporter(config) as exporter:
                exporter.wait_ready(port)
                time.sleep(0.6)
                exporter.kill()
            running.send_signal(signal.SIGKILL)
            running.wait(10)
            running = strategy(round_ * 100_000)
            time.sleep(0.3)
    finally:
        running.kill()
        running.wait(10)
    with Exporter(config) as exporter:
        exporter.wait_ready(port)
        env = {
            **os.environ,
            "QUANT_PUSH_URL": f"http://127.0.0.1:{port}",
            "QUANT_PUSH_SPOOL": str(spool),
            "QUANT_PUSH_TOKEN_FILE": str(tmp_path / "var/token"),
        }
        flush = [sys.executable, "-I", str(tmp_path / "push.py"), "--flush"]
        subprocess.run(flush, env=env, check=True, timeout=120)
        wait_for(lambda: not list(spool.glob("*.report")), "an empty spool")
        metrics = get(f"http://127.0.0.1:{port}/metrics").decode()
        tasks = json.loads(get(f"http://127.0.0.1:{port}/api/v1/tasks"))["tasks"]
    lines = [line.split() for line in said.read_text().splitlines()]
    fills = [word for kind, word in lines if kind == "fill"]
    equity = [Decimal(f"{word}.10") for kind, word in lines if kind == "equity"]
    assert len(fills) > 100
    kept = [row.fill.id for row in ledger.fills(tmp_path / "var/state.db")]
    assert len(kept) == len(set(kept))
    assert set(fills) <= set(kept)
    entries = [one.equity for one in ledger.equity(tmp_path / "var/state.db", "m", 0.0)]
    # A kill may come between the file that is kept and the line that says so: once a strategy.
    assert len(equity) <= len(entries) <= len(equity) + 4
    assert f'quant_strategy_equity_peak{{strategy="m"}} {max(entries)}'.rstrip("0") in metrics
    assert max(equity) <= max(entries)
    assert tasks[0]["last_outcome"] == "success"
    assert list(spool.glob("*.refused")) == []
