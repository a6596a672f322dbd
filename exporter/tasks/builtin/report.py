"""Writing reports: Markdown for people, JSON for programs, whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exporter.messages.message import MessageTable
from exporter.util.atomic import private_folder
from exporter.util.atomic import write as write_file
from exporter.util.nan import json_safe

MOST_PROBLEMS = 8
"""Lines of a message."""


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


def markdown(title: str, parts: Sequence[str | MessageTable]) -> str:
    """A page of texts and tables."""
    text = f"# {title}\n"
    for part in parts:
        if isinstance(part, str):
            text += f"\n{part}\n"
            continue
        text += f"\n## {part.title}\n\n" + (table(part.head, part.rows) if part.rows else "")
        text += f"\n{part.note}\n" if part.note else ""
    return text


def count(number: int, what: str) -> str:
    """1 run, 2 runs."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def problem_lines(problems: Mapping[str, str]) -> str:
    """As Markdown, a line each."""
    return "".join(f"\n- {symbol}: {problem}" for symbol, problem in problems.items())


def problem_parts(problems: Mapping[str, str]) -> list[str]:
    """For a message: the first few, and how many there are."""
    if not problems:
        return []
    lines = [f"{symbol}: {problem}" for symbol, problem in list(problems.items())[:MOST_PROBLEMS]]
    left = len(problems) - len(lines)
    return ["\n".join([*lines, *([f"… and {left} more"] if left else [])])]


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
