"""Lines in which a pattern is found, counted block by block.

In a JSON file patterns are looked for in "level logger message" of each line; the fields may lie in
a ``record`` object, as Loguru writes them; structlog's message is its ``event``.
"""

from __future__ import annotations

import json
import re

from exporter.logs.reader import Record, parse

LONGEST_SEARCHED = 16_384
"""Bytes of a line that patterns are looked for in: on an endless line they could take for ever."""


def matching_lines(pattern: re.Pattern[bytes], block: bytes) -> int:
    """How many lines of `block` (whole lines, each with its line feed) the pattern is found in.

    The whole block is searched at once, which for rare patterns is far quicker than line by line.
    """
    count = position = 0
    while (found := pattern.search(block, position)) and found.start() < len(block):
        start = block.rfind(b"\n", 0, found.start()) + 1
        end = block.find(b"\n", found.start())
        # A match that reaches over the line's end (\s, [^x]) counts only if it is in the line too.
        if found.end() <= end or pattern.search(block, max(start, position), end):
            count += 1
        position = end + 1
    return count


def without_endless_lines(block: bytes) -> bytes:
    """`block` with lines cut that are much longer than :data:`LONGEST_SEARCHED`."""
    windows = range(0, len(block), LONGEST_SEARCHED)
    if all(block.find(b"\n", at, at + LONGEST_SEARCHED) >= 0 for at in windows):
        return block
    return b"\n".join(line[:LONGEST_SEARCHED] for line in block.split(b"\n"))


def flattened(block: bytes) -> tuple[bytes, int]:
    """A block of JSON lines as text to search, and how many lines were no JSON object."""
    texts, broken = [], 0
    for line in block[:-1].split(b"\n"):
        record = parse(line) or _parse_leniently(line)
        if record is not None:
            texts.append(_flat_text(record).replace("\n", " "))
        elif line.strip():
            broken += 1
    return "\n".join([*texts, ""]).encode("utf-8", "replace"), broken


def _parse_leniently(line: bytes) -> Record | None:
    """What programs write for JSON though it is none: NaN for a price, bytes that are no UTF-8, a
    byte order mark, raw control characters."""
    if b"{" not in line:
        return None
    try:
        record = json.loads(line.decode("utf-8-sig", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _flat_text(record: Record) -> str:
    inner = record.get("record")
    if isinstance(inner, dict) and "message" in inner:
        record = inner
    # Each field by itself: a loop over their names takes three times as long, on every line.
    level = record.get("level") or record.get("levelname") or record.get("severity") or ""
    level = level.get("name", "") if isinstance(level, dict) else level
    logger = record.get("logger") or record.get("name") or ""
    message = record.get("message") or record.get("msg") or record.get("event") or ""
    return f"{level} {logger} {message}"
