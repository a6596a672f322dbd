"""Every command line of the how-tos is run, in their order, as a reader would; or says why not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.calendars.loader import EXCHANGES
from tests.integration.processes import ROOT, Exporter, free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PAGES = sorted((ROOT / "docs/howto").glob("*.md"))
NOT_RUN = 4
"""Command blocks that carry a mark. Never more: run a new one, or find a way to."""
_BLOCK = re.compile(
    r"^(?P<mark><!-- not run: [^\n]+ -->\n)?```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    title: str | None
    text: str
    marked: bool


def blocks(page: Path) -> Iterator[Block]:
    """In order."""
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        yield Block(found["language"], found["title"], found["text"], bool(found["mark"]))


def merged(old: Any, new: Any) -> Any:
    """What a reader makes of a file and a piece of it on a page."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**old, **{key: merged(old.get(key), value) for key, value in new.items()}}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_how_to_says_can_be_done(page: Path, tmp_path: Path) -> None:
    """In a fresh folder with a running exporter: files as shown, then each command."""
    port, found = free_port(), list(blocks(page))
    assert found, "a how-to without a block"
    environ = {
        **os.environ, "QUANT_LISTEN": f"127.0.0.1:{port}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip

    def run(script: str) -> None:
        script = script.replace("127.0.0.1:10077", f"127.0.0.1:{port}")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=environ, text=True,
            capture_output=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        assert '"error"' not in done.stdout, f"{script}\n{done.stdout}"

    run("quant-exporter init .")
    file = tmp_path / "exporter.yml"
    config = {"alertmanager_url": f"http://127.0.0.1:{free_port()}"}
    file.write_text(yaml.safe_dump(merged(yaml.safe_load(file.read_text()), config)))
    with Exporter(file, env=environ) as exporter:
        exporter.wait_ready(port)
        for block in found:
            if block.language == "yaml":
                config = merged(yaml.safe_load(file.read_text()), yaml.safe_load(block.text))
                config.pop("listen", None)  # the exporter of the test keeps its address
                file.write_text(yaml.safe_dump(config))
                run("quant-exporter check >/dev/null")
            elif block.title:
                text = block.text.replace("127.0.0.1:10077", f"127.0.0.1:{port}")
                (tmp_path / block.title).write_text(text)
            elif block.language == "sh" and not block.marked:
                run(block.text)


def test_the_number_of_commands_that_nobody_runs_does_not_grow() -> None:
    """A mark says why; it is no way out."""
    marked = [block for page in PAGES for block in blocks(page) if block.marked]
    assert len(marked) == NOT_RUN


def test_every_exchange_is_listed() -> None:
    """Under its name, or as an alias."""
    text = (ROOT / "docs/exchanges.md").read_text(encoding="utf-8")
    assert [name for name in sorted(EXCHANGES) if f"`{name}`" not in text] == []
