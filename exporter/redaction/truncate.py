"""Truncating long texts that may hold secrets.

A text is masked before it is truncated, and a good deal further than it is kept: a secret that is
cut in half would no longer be recognised.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Self

LONGEST_TEXT = 8_000
"""Characters of a log line's message or of one of its fields."""
LONGEST_STACK = 4 * LONGEST_TEXT
LOOK_AHEAD = 8_000
"""Characters after the part that is kept: they are masked along with it."""
LONGEST_SECRET = 4_000
"""Characters. Where the end of a text is unknown, so much of it may be half a secret."""


class TruncatedStr(str):
    """The beginning of a text; `more` characters of it are missing."""

    __slots__ = ("more",)
    more: int

    def __new__(cls, text: str, more: int) -> Self:
        """`text`, which `more` characters followed."""
        made = super().__new__(cls, text)
        made.more = more
        return made

    def __str__(self) -> str:
        """Itself, so that the message of a log record still knows that it is truncated."""
        return self


def chars_missing(text: str) -> int:
    """How many characters `text` has lost already."""
    return text.more if isinstance(text, TruncatedStr) else 0


def mask_window(text: str, longest: int) -> str:
    """As much of an unmasked text as :func:`truncate_masked` needs."""
    return text[: longest + LOOK_AHEAD]


def truncate_masked(text: str, longest: int, mask: Callable[[str], str]) -> str:
    """The first `longest` characters of the masked text, without half a secret at the end."""
    masked = mask(mask_window(text, longest))
    if chars_missing(text) or len(text) >= longest + LOOK_AHEAD:
        masked = masked[:-LONGEST_SECRET] or "…"
    return masked[:longest]


def truncate_at_word(text: str, longest: int) -> str:
    """The beginning of a text that somebody else will mask, up to the end of a word: half a secret
    would not be recognised there."""
    if len(text) <= longest:
        return text
    words = re.match(r".*(?=\s)", text[: longest + 1], re.DOTALL)
    return f"{words[0].rstrip()} […]" if words else "[…]"


def drop_partial_start(text: str) -> str:
    """A text that has lost its beginning, from its second line or word on: half a secret in the
    first one would not be recognised."""
    end = "\n" if "\n" in text[:2000] else None
    return "[…] " + (text.split(end, 1)[1:] or [""])[0]


def one_line(text: str, longest: int, mask: Callable[[str], str]) -> str:
    """What somebody else sent, for people: masked, on one printable line, `longest` at most."""
    # Masked before and after: cleaning could join the halves of a secret, or part a whole one.
    clean = mask(mask_window(text, longest))
    clean = "".join(c if c.isprintable() else " " for c in clean)
    clean = mask(" ".join(clean.split()))
    if len(text) > longest + LOOK_AHEAD:
        clean = clean[:-LONGEST_SECRET] or "…"
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"
