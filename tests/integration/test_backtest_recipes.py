"""Other libraries' strategies as backtests, each with the library in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.backtests.trading import simulate
from tests.unit.backtests.bars import FREE, random_bars

pytestmark = [pytest.mark.integration, pytest.mark.soak]
ROOT = Path(__file__).parents[2]
RUN = """
import json, sys
from dataclasses import replace
from exporter.backtests.unit import compute
from exporter.util.nan import json_safe
from tests.unit.backtests.bars import FREE, random_bars
from exporter.backtests.unit import ParameterTrial, UnitGroup
params = {"fast": 5, "slow": 20, "costs": 0.0}
group = UnitGroup(sys.argv[1], ["docs/recipes"], random_bars(400), FREE, 1764.0, 1,
                  [ParameterTrial(0, params, True)])
(result,) = compute(group)
print(json.dumps(json_safe(vars(result))))
"""


@pytest.mark.parametrize(
    ("package", "run"),
    [("backtesting", "with_backtesting_py:run"), ("vectorbt", "with_vectorbt:run")],
)
def test_a_recipe_gives_what_the_library_computes(tmp_path: Path, package: str, run: str) -> None:
    """The same signals on the same bars earn about the same in our own trading."""
    python = tmp_path / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    installed = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", package], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if installed.returncode:
        pytest.skip(f"{package} cannot be installed here: {installed.stderr[-300:]}")
    done = subprocess.run(
        [python, "-c", RUN, run], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert result["error"] is None, result["trace"]
    bars = random_bars(400)
    frame = bars.frame()
    above = frame.close.rolling(5).mean() > frame.close.rolling(20).mean()
    own = simulate(bars, above.to_numpy(np.float64), FREE)
    assert result["numbers"]["return"] == pytest.approx(own.equity[-1] / 10_000 - 1, abs=0.005)
    closed = sum(trade.closed_at is not None for trade in own.trades)
    assert result["numbers"]["trades"] == pytest.approx(closed, abs=1)
