"""Every benchmark runs, and what it prints can be true."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.__main__ import FIGURES
from benchmarks.slots import stretch
from tests.integration.processes import ROOT

pytestmark = pytest.mark.integration


@pytest.mark.timeout(400)
def test_every_figure_is_taken(tmp_path: Path) -> None:
    """In its quick form, several at once: it is about whether they run, not about how fast."""
    with ThreadPoolExecutor(4) as pool:
        found = dict(
            zip(FIGURES, pool.map(lambda name: _taken(name, tmp_path), FIGURES), strict=True)
        )
    for name, rows in found.items():
        assert rows, name
        for row in rows:
            assert math.isfinite(row["value"]), row
            assert row["value"] >= 0, row
        ours = [row for row in rows if row["who"] == "quant-exporter"]
        assert all(row["value"] > 0 for row in ours if row["what"] != "lost"), ours
    assert [row["value"] for row in found["log_calls"] if row["what"] == "lost"] == [0]
    series = found["scrape"][0]["figure"].split()[1].replace(",", "")
    assert 9_000 < int(series) < 12_000, series
    ideal = [row for row in found["sweep"] if row["who"].startswith("ideal")]
    assert ideal[0]["who"] == "ideal: 2 requests / 600 a minute", "60 symbols are two requests"


def test_late_slots_are_waited_for_and_counted(tmp_path: Path) -> None:
    """A busy machine may start nothing before the time is over; then the first start ends it."""
    starts = tmp_path / "starts"
    slot = time.time() + 1
    starts.write_text(f"{slot - 2!r} {slot - 1!r}\n")  # of before

    def start_late() -> None:
        time.sleep(1.2)
        with starts.open("a") as out:
            out.write(f"{slot!r} {slot + 0.1:.3f}\n{slot!r}")  # the next is only half written

    with ThreadPoolExecutor(1) as pool:
        pool.submit(start_late)
        assert stretch(starts, 0.1, 0.0) == [pytest.approx(100, abs=1)]


def _taken(name: str, folder: Path) -> list[dict[str, object]]:
    out = folder / f"{name}.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only", name, "--quick", "--out", out],
        cwd=ROOT, capture_output=True, text=True, timeout=350, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{name}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    assert "quant-exporter" in done.stdout
    rows: list[dict[str, object]] = json.loads(out.read_text())["figures"]
    return rows
