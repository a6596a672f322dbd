"""docs/your-own-tasks.md: its example runs, in unit tests and in an exporter; types are known."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.processes import ROOT, Exporter, free_port, get

pytestmark = pytest.mark.integration


def test_mypy_knows_the_types_of_a_task(tmp_path: Path) -> None:
    """In the user's own project: names, arguments and results."""
    (tmp_path / "mine.py").write_text(
        "from exporter.tasks import Bar, BlockingContext, Context\n"
        "from exporter.tasks.testing import FakeMarket\n"
        "def plain(context: BlockingContext) -> int:\n"
        "    bars = context.history('X', '1d', 0, 1)\n"
        "    reveal_type(bars)\n"
        "    reveal_type(context.calendar('FX').next_open(0.0))\n"
        "    return context.latest('X', 1)\n"
        "async def on_loop(context: Context) -> list[Bar]:\n"
        "    reveal_type(await context.tickers(['X']))\n"
        "    return await context.history('X', '1d', 0, 1)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "mine.py"]
    said = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "MYPYPATH": "", "HOME": str(tmp_path)},
    ).stdout  # fmt: skip
    plain = said.replace("builtins.", "")  # as older versions of mypy write it
    assert 'is "list[exporter.sources.base.Bar]"' in plain
    assert 'is "float"' in plain
    assert 'is "dict[str, exporter.sources.base.Ticker]"' in plain
    assert 'mine.py:7: error: Argument 2 to "latest"' in said
    assert said.count("error:") == 2, said


def blocks(kind: str) -> list[str]:
    """The code of that kind in the document."""
    text = (ROOT / "docs/your-own-tasks.md").read_text()
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def test_the_example_passes_its_own_unit_tests(tmp_path: Path) -> None:
    """As a reader would run them, without an exporter."""
    for code in blocks("python"):
        name = code.splitlines()[0].removeprefix("# ").removeprefix("strategies/")
        (tmp_path / name).write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_the_example_runs_and_shows_what_it_printed(tmp_path: Path) -> None:
    """In `run-task`, in `logs`, and on the run's page, although it succeeded."""
    (signals, _), (config,) = blocks("python"), blocks("yaml")
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies/my_signals.py").write_text(signals)
    port = free_port()
    (tmp_path / "exporter.yml").write_text(f"listen: 127.0.0.1:{port}\n{config}")

    def ask(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "exporter", *words, "--config", "exporter.yml"], cwd=tmp_path,
            capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    with Exporter(tmp_path / "exporter.yml") as exporter:
        exporter.wait_ready(port)
        ran = ask("run-task", "above_average")
        assert re.match(r"above_average: success after .*, \d items?\n    NVDA.US: closed at", ran)
        assert "SPY.US: closed at" in ask("logs", "--task", "above_average")
        line = ask("logs", "--task", "above_average", "--json").splitlines()[-1]
        page = get(f"{exporter.url}/runs/{json.loads(line)['run_id']}").decode()
        assert page.count("SPY.US: closed at") == 1
