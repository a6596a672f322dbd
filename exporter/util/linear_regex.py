"""Regular expressions from users: run in linear time, whatever they are and whatever they search.

Python's own go back and try again, for some patterns (``(a+)+b``) longer than anybody waits, and
hold everything else meanwhile. RE2 never does; what needs it, RE2 does not have
(https://github.com/google/re2/wiki/Syntax).
"""

from __future__ import annotations

import re
from typing import Protocol

_INSTEAD = {
    "(?=": "look-ahead", "(?!": "look-ahead", "(?<": "look-behind", "(?>": "an atomic group",
    "(?#": "a comment", "(?x": "the verbose flag", "(?(": "a conditional group",
    "(?P=": "a back reference", "(?a": "the flag a", "(?L": "the flag L", "(?u": "the flag u",
}  # fmt: skip
# RE2 takes these for the very characters.
_OPEN_COUNT = re.compile(r"(?<!\\)(?:\\\\)*\{,\d+\}")
_LARGE_COUNT = re.compile(r"(?<!\\)(?:\\\\)*\{\d*,?\d{5,}\}")


class Found(Protocol):
    """Where a pattern was found."""

    def start(self) -> int: ...
    def end(self) -> int: ...


class LinearPattern(Protocol):
    """What :func:`compile_linear` returns."""

    def search(self, text: bytes, pos: int = 0) -> Found | None: ...


class PatternError(ValueError):
    """The pattern is none, or needs more than linear time; the message says what to do."""


def compile_linear(pattern: str) -> LinearPattern:
    """A pattern that is found within lines of bytes: ``^`` and ``$`` are a line's beginning and
    end, and nothing in it stands for a line feed. Raises :class:`PatternError`."""
    import re2  # 4 MB, which only those with a pattern pay for

    if _OPEN_COUNT.search(pattern):
        raise PatternError("write {0,3} for {,3}")
    if _LARGE_COUNT.search(pattern):
        raise PatternError("a repeat counts to 1000 at most")
    options = re2.Options()
    options.log_errors = False
    options.never_nl = True
    options.encoding = re2.Options.Encoding.LATIN1  # byte by byte: a log may be in any encoding
    try:
        # Compiled apart first: an error names the pattern as the user wrote it.
        re2.compile(pattern.encode(), options)
        made: LinearPattern = re2.compile(b"(?m)" + pattern.encode(), options)
    except re2.error as error:
        raise PatternError(_explained(error)) from None
    return made


def _explained(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    what, _, where = text.partition(": ")
    if what == "invalid escape sequence" and where[1:2].isdigit():
        return f"{text}; back references cannot be searched for in linear time: write the words out"
    for sign, name in _INSTEAD.items():
        if what == "invalid perl operator" and where.startswith(sign):
            return f"{text}; {name} is not supported: match the words, or use two patterns"
    if what == "bad repetition operator":
        return f"{text}; possessive repeats are not supported and not needed: write one sign"
    if what == "invalid repetition size":
        return f"{text}; a repeat counts to 1000 at most"
    if where == r"\Z":
        return rf"{text}; write $ or \z"
    return text
