"""Writing reports: Markdown for people, JSON for programs, whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exporter.util.atomic import private_folder
from exporter.util.atomic import write as write_file
from exporter.util.nan import json_safe


def write(folder: Path, name: str, markdown: str, data: Any) -> Path:
    """Write ``name.md`` and ``name.json``; returns the Markdown's path. Raises :class:`OSError`."""
    private_folder(folder)
    text = json.dumps(json_safe(data), indent=2, ensure_ascii=False) + "\n"
    write_file(folder / f"{name}.json", text)
    path = folder / f"{name}.md"
    write_file(path, markdown)
    return path


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, the first column left, the others right."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def percent(ratio: float) -> str:
    """+1.23%, or a dash where nothing is known."""
    return "–" if math.isnan(ratio) else f"{ratio:+.2%}"


def number(value: float) -> str:
    """1,234.50, or a dash where nothing is known."""
    return "–" if math.isnan(value) else f"{value:,.2f}"


def price(value: float) -> str:
    """1,234.50, 1.08345 or 0.00001234: as many digits as prices of that size move in."""
    if math.isnan(value):
        return "–"
    return f"{value:,.{2 if value >= 20 else 5 if value >= 0.01 else 8}f}"
