"""Every benchmark runs, and what it prints can be true."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.__main__ import FIGURES
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
    assert 9_000 < int(series) < 11_000, series
    ideal = [row for row in found["sweep"] if row["who"].startswith("ideal")]
    assert ideal[0]["who"] == "ideal: 2 requests / 600 a minute", "60 symbols are two requests"


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
