"""Long texts that are masked and cut: masked first and further, so that no half secret is left."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Self

LONGEST_TEXT = 8_000
"""Characters of a log line's message or a field."""
LONGEST_STACK = 4 * LONGEST_TEXT
LOOK_AHEAD = 8_000
LONGEST_SECRET = 4_000
"""Characters. Before a text is cut it is masked so much further, so that no half secret is left."""


class Beginning(str):
    """The beginning of a text, from where the rest is not known; `more` characters are missing."""

    __slots__ = ("more",)
    more: int

    def __new__(cls, text: str, more: int) -> Self:
        """`text`, which had `more` characters more."""
        made = super().__new__(cls, text)
        made.more = more
        return made

    def __str__(self) -> str:
        """Itself: a log record's message is still known to be cut."""
        return self


def missing(text: str) -> int:
    """How many characters `text` had before somebody cut it."""
    return text.more if isinstance(text, Beginning) else 0


def ahead(text: str, longest: int) -> str:
    """As much of `text` as :func:`head` needs; what may be kept of it before it is masked."""
    return text[: longest + LOOK_AHEAD]


def head(text: str, longest: int, mask: Callable[[str], str]) -> str:
    """The first `longest` characters of the masked text; none of a secret that may be cut."""
    said = mask(ahead(text, longest))
    if missing(text) or len(text) >= longest + LOOK_AHEAD:
        said = said[:-LONGEST_SECRET] or "…"
    return said[:longest]


def to_break(text: str, longest: int) -> str:
    """The beginning of a text that somebody else masks, up to the end of a word: half a secret
    would not be known there."""
    if len(text) <= longest:
        return text
    words = re.match(r".*(?=\s)", text[: longest + 1], re.DOTALL)
    return f"{words[0].rstrip()} […]" if words else "[…]"


def after_break(text: str) -> str:
    """A text whose beginning is missing, from its second line or word on: half a secret in the
    first one would not be known."""
    end = "\n" if "\n" in text[:2000] else None
    return "[…] " + (text.split(end, 1)[1:] or [""])[0]
