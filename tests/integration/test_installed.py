"""A wheel in an empty environment and an empty folder: nothing of the source tree is needed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.integration.processes import ROOT, Program, answers, free_port, get, need, wait_for

pytestmark = pytest.mark.integration


class Installed:
    """The exporter's wheel in an environment of its own; the libraries are those of the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "empty"
        self.folder.mkdir()
        wheels, env = folder / "wheels", folder / "env"
        pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
        subprocess.run(
            [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, ROOT], check=True
        )
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", env], check=True)
        [wheel] = wheels.glob("*.whl")
        subprocess.run(
            [*pip, "--python", env / "bin/python", "install", "--no-deps", "--no-index", wheel],
            check=True,
        )
        [packages] = env.glob("lib/python3*/site-packages")
        # Its own *.pth files do not count there, and so the source tree does not come along.
        (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.command = env / "bin/quant-exporter"
        self.environment = {"PATH": f"{env / 'bin'}:{os.environ['PATH']}", "HOME": str(folder)}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command in the folder; both outputs as one text."""
        return subprocess.run(
            [self.command, *arguments], cwd=self.folder, env=self.environment, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
        )  # fmt: skip

    def starts(self, *command: str | Path) -> Program:
        """A process in the folder."""
        shell = ["env", "-u", "PYTHONPATH", f"PATH={self.environment['PATH']}"]
        log = self.folder.parent / f"{Path(command[0]).name}.log"
        return Program([*shell, *command], log, cwd=self.folder)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"))


def test_from_an_empty_folder_to_a_replay(installed: Installed) -> None:
    """`init`, `check`, `run`, a task of each kind, the runbook, and `replay` on real history."""
    prometheus = need("prometheus")
    made = installed.run("init")
    assert made.returncode == 0, made.stdout
    assert "  quant-exporter check\n" in made.stdout
    port, history = free_port(), free_port()
    config = installed.folder / "exporter.yml"
    addresses = f"listen: 127.0.0.1:{port}\nprometheus_url: http://127.0.0.1:{history}\n"
    config.write_text(addresses + config.read_text())
    checked = installed.run("check")
    assert checked.returncode == 0, checked.stdout
    scraped = installed.folder / "prometheus/prometheus.yml"
    text = scraped.read_text().replace("localhost:10077", f"127.0.0.1:{port}")
    scraped.write_text(text.replace(": 15s", ": 1s").replace(": 10s", ": 1s"))
    url = f"http://127.0.0.1:{port}"
    with (
        installed.starts(installed.command, "run"),
        installed.starts(
            prometheus, f"--config.file={scraped}", "--storage.tsdb.path=../tsdb",
            f"--web.listen-address=127.0.0.1:{history}",
        ),
    ):  # fmt: skip
        wait_for(lambda: answers(f"{url}/-/ready"), "the installed exporter")
        for task in ("hello", "paper", "health_check"):
            ran = installed.run("run-task", task)
            assert ran.returncode == 0, ran.stdout
        page = get(f"{url}/runbook").decode()
        assert 'id="quanttaskfailing"' in page
        metrics = get(f"{url}/metrics").decode()
        equity = re.search(
            r'^quant_strategy_equity\{strategy="paper"\} (\S+)', metrics, re.MULTILINE
        )
        assert equity
        assert float(equity[1]) == pytest.approx(10_000, rel=0.1)
        assert 'last_fill_price{side="buy",strategy="paper",symbol="BTCUSDT"}' in metrics
        up = f"http://127.0.0.1:{history}/api/v1/query?query=quant_strategy_equity"
        wait_for(lambda: answers(up) and b'"paper"' in get(up), "a scrape")
        replayed = installed.run("replay", "--since", "1m", "--step", "5s")
        assert replayed.returncode == 0, replayed.stdout
        assert "nights with a page: 0" in replayed.stdout


def test_the_package_is_a_command_too(installed: Installed) -> None:
    """`python -m exporter` is the same."""
    python = installed.command.with_name("python")
    said = subprocess.run(
        [python, "-m", "exporter", "--version"], cwd=installed.folder, env=installed.environment,
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert said == installed.run("--version").stdout
