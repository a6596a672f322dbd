"""Files in UTF-16, as MetaTrader 5 and PowerShell's ``>`` write them: cut into lines by pairs of
bytes, and handed on as UTF-8. Offsets stay those of the file's bytes."""

from __future__ import annotations

from exporter.logs.tail.line_splitter import LONGEST_LINE, Splitter
from exporter.logs.tail.position import FIRST_BYTES

_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_LEAST = 8
"""Bytes by which a file without a mark is recognised: each second one is 0 in Latin letters."""
_LINE_FEED = {"utf-16-le": b"\n\0", "utf-16-be": b"\0\n"}


def utf16_of(beginning: bytes) -> str | None:
    """The encoding of a file that begins so; None when it is not UTF-16."""
    if beginning[:2] in _MARKS:
        return _MARKS[beginning[:2]]
    pairs = beginning[: len(beginning) // 2 * 2]
    if len(pairs) < _LEAST:
        return None
    if not any(pairs[1::2]) and all(pairs[::2]):
        return "utf-16-le"
    return "utf-16-be" if not any(pairs[::2]) and all(pairs[1::2]) else None


def as_utf8(block: bytes, encoding: str) -> bytes:
    """A block of whole lines."""
    text = block.decode(encoding, "replace").replace("\ufeff", "")
    return text.encode("utf-8", "replace")


def after_last_line(data: bytes, at: int, encoding: str) -> int:
    """Where in `data`, which stands at offset `at`, the last line ends; 0 when none does."""
    feed, end = _LINE_FEED[encoding], len(data)
    while (found := data.rfind(feed, 0, end)) >= 0:
        if (at + found) % 2 == 0:
            return found + 2
        end = found + 1
    return 0


class WideSplitter(Splitter):
    """A :class:`Splitter` for UTF-16. `at`: the offset where it begins."""

    def __init__(self, encoding: str, at: int, before: bytes = b"") -> None:
        super().__init__(before)
        self._encoding, self._at = encoding, at
        self.dropping = at > 2 and not before.endswith(_LINE_FEED[encoding])

    def whole(self, chunk: bytes) -> bytes:
        """See :meth:`Splitter.whole`."""
        data = self.rest + chunk
        start = self._at - len(self.rest)
        self._at += len(chunk)
        self.seen = (self.seen + chunk[-FIRST_BYTES:])[-FIRST_BYTES:]
        end = after_last_line(data, start, self._encoding)
        block, self.rest = data[:end], data[end:]
        if self.dropping:
            self.dropping = not end
            block = self._without_first_line(block, start)
            self.rest = b"" if self.dropping else self.rest
        elif not end and len(self.rest) > LONGEST_LINE:
            block = self.rest[:LONGEST_LINE] + _LINE_FEED[self._encoding]
            self.rest, self.dropping = b"", True
        if not self.rest:
            self.seen_whole = self.seen
        elif end:
            self.seen_whole = data[max(0, end - FIRST_BYTES) : end]
        return as_utf8(block, self._encoding)

    def end(self) -> bytes:
        """See :meth:`Splitter.end`."""
        line, self.rest = self.rest, b""
        if not line or self.dropping:
            return b""
        return as_utf8(line[: len(line) // 2 * 2], self._encoding) + b"\n"

    def _without_first_line(self, block: bytes, start: int) -> bytes:
        feed, at = _LINE_FEED[self._encoding], -1
        while (at := block.find(feed, at + 1)) >= 0:
            if (start + at) % 2 == 0:
                return block[at + 2 :]
        return b""
