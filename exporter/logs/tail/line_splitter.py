"""Chunks of a file cut into whole lines."""

from __future__ import annotations

from exporter.logs.tail.position import FIRST_BYTES

LONGEST_LINE = 1 << 20
"""Bytes; a longer line is returned truncated, once."""


class Splitter:
    """Returns complete lines and keeps the rest. `before` precedes the place where it begins;
    within a line, the rest of that line is skipped."""

    def __init__(self, before: bytes = b"") -> None:
        self.rest = b""
        """The beginning of a line that is not yet whole."""
        self.dropping = bool(before) and not before.endswith(b"\n")
        self.seen = before
        """What came last, at most :data:`FIRST_BYTES`."""
        self.seen_whole = before
        """The same without `rest`."""

    def whole(self, chunk: bytes) -> bytes:
        """The lines that `chunk` completes, each with its line feed."""
        self.seen = (self.seen + chunk[-FIRST_BYTES:])[-FIRST_BYTES:]
        if not self.rest and chunk.startswith(b"\0"):
            # A program that goes on writing at its old offset in a truncated file leaves a hole.
            chunk = chunk.lstrip(b"\0")
        start, end = 0, chunk.rfind(b"\n") + 1
        if self.dropping:
            start = chunk.find(b"\n") + 1
            self.dropping = not start
            block, self.rest = chunk[start:end], chunk[end:] if start else b""
        elif end:
            block, self.rest = self.rest + chunk[:end], chunk[end:]
        else:
            block, self.rest = b"", self.rest + chunk
            if len(self.rest) > LONGEST_LINE:
                block, self.rest, self.dropping = self.rest[:LONGEST_LINE] + b"\n", b"", True
        if not self.rest:
            self.seen_whole = self.seen
        elif end:
            self.seen_whole = chunk[max(0, end - FIRST_BYTES) : end]
        return block

    def end(self) -> bytes:
        """What is left, as a line: the file is complete."""
        line, self.rest = self.rest, b""
        return line + b"\n" if line and not self.dropping else b""
