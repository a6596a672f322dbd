"""``quant-exporter exec``, with options before it; without any, ``__main__`` is faster."""

from __future__ import annotations

import os
from pathlib import Path

from exporter.cli import exec_wrapper


def exec_task(path: Path, words: list[str]) -> int:
    """Run a command as a task; the address is looked for next to the config."""
    os.environ["QUANT_CONFIG"] = str(path)
    return exec_wrapper.main(words)
