"""The newest part of what a program printed, as a terminal would show it in the end.

Progress bars overwrite their line a thousand times; what counts is the last state of the line, and
what was printed before the bar must not be pushed out by it.
"""

from __future__ import annotations

import re

from exporter.redaction.truncate import drop_partial_start
from exporter.util.units import format_size

TAIL_CHARS = 8192
_RAW_BYTES = 1 << 16
_LONGEST_REWRITTEN = 4000
"""Characters of a line; a longer one is not rewritten but continued on the next."""
_OVERWRITTEN = re.compile(rb"^[^\n]*\r(?=[^\r\n])", re.MULTILINE)
_TOKEN = re.compile(
    r"\x1b\[(?P<numbers>[0-?]*)[ -/]*(?P<csi>[@-~])"  # moves the cursor, erases, or colours
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # a window's title, a link
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"
    r"|\x1b[ -/]*[0-~]?"
    r"|(?P<control>[\n\r\b])"
    r"|(?P<text>[^\x1b\n\r\b]+)"
)


class OutputTail:
    """Give it all output as it comes; it keeps little more than what :meth:`text` shows."""

    def __init__(self) -> None:
        self._raw = bytearray()
        self._cut = 0
        """Bytes that are not kept."""

    def add(self, data: bytes) -> None:
        """What was printed next."""
        self._raw += data
        if len(self._raw) <= _RAW_BYTES:
            return
        if b"\r" in self._raw:
            self._raw = bytearray(_OVERWRITTEN.sub(b"", self._raw))
        if (more := len(self._raw) - _RAW_BYTES // 2) > 0:
            del self._raw[:more]
            self._cut += more

    def text(self) -> str:
        """The last lines. Where something is missing before them, the first line says how much,
        and what follows begins with a whole word: half a secret would not be known."""
        # A terminal shows nothing for NUL; so UTF-16 can be read, too.
        shown = rendered(bytes(self._raw).replace(b"\0", b"").decode("utf-8", "replace"))
        if self._cut or len(shown) > TAIL_CHARS:
            kept = drop_partial_start(shown[-TAIL_CHARS:])
            more = (
                self._cut + len(shown.encode(errors="replace")) - len(kept.encode(errors="replace"))
            )
            shown = f"[{format_size(more)} of output before this are not kept]\n{kept}"
        return shown.rstrip()


def rendered(text: str) -> str:
    """What a terminal shows after `text`: no escape codes, each line in its final state."""
    if "\r" not in text and "\x1b" not in text and "\b" not in text:
        return text
    screen = _Screen()
    for token in _TOKEN.finditer(text):
        if (plain := token["text"]) is not None:
            screen.write(plain)
        elif (control := token["control"]) is not None:
            screen.control(control)
        elif token["csi"] is not None:
            screen.command(token["csi"], token["numbers"])
    return "\n".join(screen.lines)


class _Screen:
    """Lines without end, and a cursor."""

    def __init__(self) -> None:
        self.lines = [""]
        self._row = self._column = 0

    def write(self, text: str) -> None:
        line, column = self.lines[self._row], self._column
        if column < len(line) and len(line) > _LONGEST_REWRITTEN:
            self.control("\n")
            line, column = self.lines[self._row], 0
        if column >= len(line):
            line = line.ljust(column) + text
        else:
            line = line[:column] + text + line[column + len(text) :]
        self.lines[self._row] = line
        self._column = column + len(text)

    def control(self, character: str) -> None:
        if character == "\b":
            self._column = max(0, self._column - 1)
            return
        self._column = 0
        if character == "\n":
            self._row += 1
            if self._row == len(self.lines):
                self.lines.append("")

    def command(self, letter: str, numbers: str) -> None:
        count = int(numbers) if numbers.isdecimal() and len(numbers) <= 4 else 0
        line = self.lines[self._row]
        match letter:
            case "A" | "F":
                self._row = max(0, self._row - (count or 1))
            case "B" | "E":
                self._row = min(len(self.lines) - 1, self._row + (count or 1))
            case "C":
                self._column = min(self._column + (count or 1), _LONGEST_REWRITTEN)
            case "D":
                self._column = max(0, self._column - (count or 1))
            case "G":
                self._column = max(0, count - 1)
            case "K":
                rest = line[self._column :] if count == 1 else ""
                kept = " " * self._column if count == 1 else "" if count == 2 else line
                self.lines[self._row] = kept[: self._column] + rest
            case "J" if count == 0:
                self.lines[self._row] = line[: self._column]
                del self.lines[self._row + 1 :]
        if letter in "EF":
            self._column = 0
