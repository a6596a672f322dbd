"""Every command line of README and of the reference pages is run, or has a mark that says why not.

The how-tos are run from their first line to their last: :mod:`tests.integration.test_howtos`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.integration.processes import ROOT, Exporter, Program, answers, free_port, wait_for
from tests.integration.test_howtos import NOT_RUN, PAGES, Block, blocks, merged

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

REFERENCE = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN_HERE = 8
"""Command blocks that carry a mark. Never more: run a new one, or find a way to."""
_COMMAND = re.compile(
    r"^\s*(?:\$ )?(?:quant-exporter|make|curl|docker|git|pip|python3?|sudo) ", re.M
)
_CONFIG = """
tasks:
  signals: {run: "signals:compute", schedule: "every 1m", source: market}
  backup: {external: true, schedule: "03:00"}
  etl: {command: [./etl.sh], schedule: "00:00"}
  nightly_etl: {external: true, schedule: "03:00"}
strategies: {momentum: {max_age: 1d}}
messages: {phone: {url_file: phone}}
sources: {mine: {type: push}}
feeds: {fills: {source: mine, symbols: [AAPL.US], interval: 1m, exchange: XNYS}}
backtests: {strategies: {momentum: {source: market}, mean_reversion: {source: market}}}
metrics: {positions: {help: Open positions, labels: [strategy], max_age: 2h}}
"""
_STAND_INS = {
    "crontab": "echo '5 2 * * * ./etl.sh'",
    "systemctl": "echo Id=etl.timer; "
    "echo 'TimersCalendar={ OnCalendar=*-*-* 03:00:00 ; next_elapse=x }'",
    # A log without such a line is no mistake of the page.
    "quant-exporter": f'"{Path(sys.executable).parent}/quant-exporter" "$@" || '
    '{ status=$?; [ "$1$status" = logs1 ] || exit $status; }',
}


@dataclass(frozen=True)
class Reader:
    """Somebody with a running exporter who tries out what the pages say."""

    folder: Path
    environ: dict[str, str]
    port: int
    simulator: int

    def run(self, script: str) -> None:
        """One block, in the folder of exporter.yml."""
        script = script.replace(":10077", f":{self.port}").replace(":10078", f":{self.simulator}")
        script = script.replace("/tasks/NAME/", "/tasks/nightly_etl/")
        script = script.replace("/etc/crontab", f"{self.folder}/crontab --system")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=self.folder, env=self.environ,
            text=True, capture_output=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        assert '{"error"' not in done.stdout, f"{script}\n{done.stdout[-3000:]}"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """One exporter and one simulator for all pages."""
    folder, port, simulator = tmp_path_factory.mktemp("reader"), free_port(), free_port()
    inbox, mail = free_port(), free_port()
    programs = folder / "bin"
    programs.mkdir()
    environ = {
        **os.environ,
        "QUANT_LISTEN": f"127.0.0.1:{port}",
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "QUANT_URL": f"http://127.0.0.1:{port}",
        "QUANT_TOKEN_FILE": str(folder / "var/token"),
        "QUANT_EXEC_SPOOL": str(folder / "spool"),
    }
    for name, text in _STAND_INS.items():
        _script(programs / name, text)
    for name in ("backup.sh", "etl.sh"):
        _script(folder / name, "true")
    subprocess.run(
        ["quant-exporter", "init", "."], cwd=folder, env=environ, check=True, capture_output=True
    )
    (folder / "crontab").write_text("5 2 * * * me ./etl.sh\n")
    (folder / "phone").write_text(f"http://127.0.0.1:{inbox}/slack/made-up")
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/activate").write_text("")  # the environment is there already
    (example,) = (b for b in blocks(ROOT / "README.md") if b.language == "python")
    (folder / "strategies/signals.py").write_text(example.text)
    file = folder / "exporter.yml"
    config = merged(yaml.safe_load(file.read_text()), yaml.safe_load(_CONFIG))
    config["alertmanager_url"] = config["prometheus_url"] = f"http://127.0.0.1:{free_port()}"
    file.write_text(yaml.safe_dump(config))
    sinks = ["-m", "exporter", "sinks", "--listen", f"127.0.0.1:{inbox}", "--smtp-port", f"{mail}"]
    market = ["-m", "exporter", "simulate", "--listen", f"127.0.0.1:{simulator}"]
    with (
        Exporter(file, env=environ) as exporter,
        Program([sys.executable, *market], folder / "market.out"),
        Program([sys.executable, *sinks], folder / "sinks.out"),
    ):
        exporter.wait_ready(port)
        wait_for(lambda: answers(f"http://127.0.0.1:{simulator}/control/stats"), "the simulator")
        wait_for(lambda: answers(f"http://127.0.0.1:{inbox}/received"), "the chat")
        environ["TOKEN"] = exporter.token
        yield Reader(folder, environ, port, simulator)


def _script(file: Path, text: str) -> None:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def _commands(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language in ("sh", "console")]


@pytest.mark.parametrize(
    ("page", "number"),
    [
        (page, number)
        for page in REFERENCE
        for number, block in enumerate(_commands(page), 1)
        if not block.marked
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else str(value),
)
def test_what_a_page_shows_can_be_run(reader: Reader, page: Path, number: int) -> None:
    """Each block by itself, next to an exporter.yml with the names that the pages use."""
    reader.run(_commands(page)[number - 1].text)


def test_the_number_of_commands_that_nobody_runs_does_not_grow() -> None:
    """A mark says why; it is no way out."""
    marked = [block for page in REFERENCE for block in _commands(page) if block.marked]
    assert len(marked) == NOT_RUN_HERE
    assert NOT_RUN <= 4


@pytest.mark.parametrize("page", [*REFERENCE, *PAGES], ids=lambda page: page.stem)
def test_commands_stand_in_blocks_that_say_so(page: Path) -> None:
    """What has no language is neither run nor marked, so it shows output and files alone."""
    bare = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    text = re.sub(r"^```\w+.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert [found for found in bare.findall(text) if _COMMAND.search(found)] == []
