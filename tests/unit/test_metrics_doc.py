"""The list of metrics that people read is the table that the process exposes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_list_of_metrics_is_current() -> None:
    """Make it anew with `.venv/bin/python tools/metrics-doc > docs/metrics.md`."""
    made = subprocess.run(
        [sys.executable, "tools/metrics-doc"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout == (ROOT / "docs/metrics.md").read_text()
