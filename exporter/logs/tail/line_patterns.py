"""Counts the lines in which a pattern is found, block by block."""

from __future__ import annotations

import re

from exporter.util.linear_regex import LinearPattern

LONGEST_SEARCHED = 16_384
"""Bytes of a line in which patterns are looked for."""
# What a terminal shows as colours, and other sequences of its kind (ECMA-48).
_COLOURS = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)")


def matching_lines(pattern: LinearPattern, block: bytes) -> int:
    """How many lines of `block` (whole lines, each with its line feed) the pattern is found in.

    The whole block is searched at once, which for rare patterns is far quicker than line by line.
    """
    count = position = 0
    while (found := pattern.search(block, position)) and found.start() < len(block):
        count += 1
        position = block.find(b"\n", found.start()) + 1
    return count


def searchable(block: bytes) -> bytes:
    """`block` as patterns are to find it: without colours, carriage returns at the ends of lines,
    and what is beyond :data:`LONGEST_SEARCHED`."""
    if b"\x1b" in block:
        block = _COLOURS.sub(b"", block)
    if b"\r" in block:  # a hundred times as fast as looking for the pair
        block = block.replace(b"\r\n", b"\n")
    windows = range(0, len(block), LONGEST_SEARCHED)
    if all(block.find(b"\n", at, at + LONGEST_SEARCHED) >= 0 for at in windows):
        return block
    return b"\n".join(line[:LONGEST_SEARCHED] for line in block.split(b"\n"))
