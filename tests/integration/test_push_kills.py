"""kill -9 of either side while a strategy pushes: nothing twice, nothing lost, no peak lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest

from exporter.push import Push
from exporter.state import ledger
from tests.integration.processes import ROOT, Exporter, free_port, get, wait_for

pytestmark = pytest.mark.integration

CONFIG = """\
listen: 127.0.0.1:{port}
strategies:
  m: {{currency: USD}}
  f: {{currency: USD, equity_file: curve.csv}}
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
curve = open({curve!r}, "a", buffering=1)
for n in itertools.count(first):
    equity = 1000 + (n * 7919) % 500
    curve.write(f"{{time.time():.3f}},{{equity}}\\n")
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
    state = tmp_path / "var/state.db"
    config.write_text(CONFIG.format(port=port))
    (tmp_path / "push.py").write_text((ROOT / "exporter/push.py").read_text())
    spool, curve = tmp_path / "spool", tmp_path / "curve.csv"
    curve.write_text("timestamp,equity\n")
    program = tmp_path / "strategy.py"
    program.write_text(
        STRATEGY.format(folder=str(tmp_path), port=port, token=str(tmp_path / "var/token"),
                        spool=str(spool), said=str(said), curve=str(curve))
    )  # fmt: skip

    def strategy(first: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-I", str(program), str(first)])

    running = strategy(0)
    try:
        # While it works, as soon as it is ready, and before it is.
        for round_, after in enumerate((0.6, 0.05, None, 0.3), 1):
            with Exporter(config) as exporter:
                if after is None:
                    time.sleep(0.3 + 0.4 * round_ % 1)
                else:
                    exporter.wait_ready(port)
                    time.sleep(after)
                exporter.kill()
            running.send_signal(signal.SIGKILL)
            running.wait(10)
            running = strategy(round_ * 100_000)
            time.sleep(0.2)
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
        rows = {tuple(line.split(",")) for line in curve.read_text().splitlines()[1:]}
        wait_for(lambda: len(ledger.equity(state, "f", 0.0)) == len(rows), "the rows of the file")
        metrics = get(f"http://127.0.0.1:{port}/metrics").decode()
        tasks = json.loads(get(f"http://127.0.0.1:{port}/api/v1/tasks"))["tasks"]
    lines = [line.split() for line in said.read_text().splitlines()]
    fills = [word for kind, word in lines if kind == "fill"]
    equity = [Decimal(f"{word}.10") for kind, word in lines if kind == "equity"]
    assert len(fills) > 100
    kept = [row.fill.id for row in ledger.fills(state)]
    assert len(kept) == len(set(kept))
    assert set(fills) <= set(kept)
    entries = [one.equity for one in ledger.equity(state, "m", 0.0)]
    # A kill may come between the file that is kept and the line that says so: once a strategy.
    assert len(equity) <= len(entries) <= len(equity) + 7
    assert f'quant_strategy_equity_peak{{strategy="m"}} {max(entries)}'.rstrip("0") in metrics
    assert max(equity) <= max(entries)
    assert tasks[0]["last_outcome"] == "success"
    assert list(spool.glob("*.refused")) == []
    assert {
        (f"{one.at:.3f}", f"{one.equity:.0f}") for one in ledger.equity(state, "f", 0.0)
    } == rows
    peak = max(float(equity) for _, equity in rows)
    assert f'quant_strategy_equity_peak{{strategy="f"}} {peak}' in metrics


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, 12 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root and the right to mount")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_kill_while_the_disk_is_full_loses_and_doubles_nothing(
    tmp_path: Path, small_disk: Path
) -> None:
    """What was pushed meanwhile waits at the strategy, what a file got is read again."""
    port, state = free_port(), small_disk / "state.db"
    config, curve = tmp_path / "exporter.yml", tmp_path / "curve.csv"
    config.write_text(f"state: {state}\n" + CONFIG.format(port=port))
    push = Push(f"http://127.0.0.1:{port}", token_file=small_disk / "token", spool=tmp_path / "sp")
    rows, sent = [], []

    def trade(count: int) -> None:
        for _ in range(count):
            number = len(sent) + 1
            assert push.fill("m", "A.US", "buy", "0.10", 1, id=f"fill-{number}")
            assert push.equity("m", f"{1000 + number}.5")
            sent.append(number)
            rows.append(f"{time.time():.3f},{2000 + number}\n")
            time.sleep(0.002)
        curve.write_text("timestamp,equity\n" + "".join(rows))

    def has(count: int) -> bool:
        return len(list(ledger.fills(state))) == len(ledger.equity(state, "m", 0.0)) == count

    trade(20)
    with Exporter(config) as exporter:
        exporter.wait_ready(port)
        assert push.flush(60)
        wait_for(lambda: has(20), "the first twenty")
        with (small_disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while filler.write(b"x" * 4096):
                pass
        trade(60)
        wait_for(lambda: exporter.metrics()["quant_state_healthy"] == 0, "the full disk")
        assert push.waiting, "they wait at the strategy"
        exporter.kill()
        (small_disk / "filler").unlink()
    with Exporter(config) as exporter:
        exporter.wait_ready(port)
        trade(5)
        assert push.flush(60), "what waited"
        wait_for(lambda: has(85), "all of it, once")
        wait_for(lambda: len(ledger.equity(state, "f", 0.0)) == 85, "the rows of the file", 60)
        metrics = exporter.metrics()
    assert metrics['quant_strategy_equity_peak{strategy="m"}'] == 1085.5
    assert metrics['quant_strategy_equity_peak{strategy="f"}'] == 2085
    push.close()
