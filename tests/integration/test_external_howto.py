"""The lines that docs/tasks.md gives to copy, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.processes import ROOT, Program, answers, free_port, get, wait_for

pytestmark = pytest.mark.integration
PAGE = (ROOT / "docs/tasks.md").read_text()


def copied(language: str) -> str:
    """The page's first block in that language."""
    block, *_ = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(block)


def test_the_lines_to_copy_report_how_a_program_ended(tmp_path: Path) -> None:
    """A success with exit code 0, a failure otherwise."""
    assert len((copied("yaml") + copied("sh")).splitlines()) == 3
    port = free_port()
    config = tmp_path / "exporter.yml"
    config.write_text(
        f"listen: 127.0.0.1:{port}\ntasks:\n  old: {{external: true, schedule: 01:00}}\n"
    )
    script = tmp_path / "backup.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    url = f"http://127.0.0.1:{port}"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    run = [sys.executable, "-m", "exporter", "run", "--config", config]
    with Program(run, tmp_path / "exporter.log", cwd=tmp_path):
        wait_for(lambda: answers(f"{url}/-/ready"), "the exporter")
        with config.open("a") as file:
            file.write(copied("yaml"))
        for code, outcome in ((0, "success"), (3, "failure")):
            script.write_text(f"#!/bin/sh\nexit {code}\n")
            done = subprocess.run(
                ["bash", "-c", copied("sh")], cwd=tmp_path, capture_output=True, text=True,
                check=False, env={**os.environ, "PATH": path, "HOME": str(tmp_path)},
            )  # fmt: skip
            assert done.returncode == code, done.stdout + done.stderr
            tasks = json.loads(get(f"{url}/api/v1/tasks"))["tasks"]
            [backup] = [task for task in tasks if task["name"] == "backup"]
            assert backup["last_outcome"] == outcome
