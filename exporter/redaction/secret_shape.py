"""One shape of secrets: the signs that a text may have one, and where it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

MASKED = "***"
BEGINS = (
    r"(?:(?<![A-Za-z0-9_])|(?<=\\[nrt])|(?<=\\x[0-9a-f]{2})|(?<=\\u[0-9a-f]{4})|(?<=%[0-9a-f]{2}))"
)
"""Where a word begins, also behind an escaped character: in a text that a program shows as it
writes it, a line before ends with \\n."""

Span = tuple[int, int]
"""Start and end of a secret in a text."""


class Shape(NamedTuple):
    """A shape of secrets."""

    kind: str
    """What it is, with its article."""
    signs: tuple[str, ...]
    """One of these is in each text that has the shape: in lower case, or, where it has capitals,
    as it is written."""
    find: Callable[[str], Iterator[Span]]
    """Where they are, from left to right, in a time that grows with the text's length and not with
    its square."""


def shape(kind: str, signs: str | tuple[str, ...], pattern: str) -> Shape:
    """By a pattern; `signs` may be words with spaces between. What the group ``keep`` has is not
    part of the secret."""
    compiled = re.compile(pattern, re.IGNORECASE)
    after = "keep" if "keep" in compiled.groupindex else 0

    def find(text: str) -> Iterator[Span]:
        for found in compiled.finditer(text):
            yield found.end(after) if after else found.start(), found.end()

    return Shape(kind, tuple(signs.split()) if isinstance(signs, str) else signs, find)


def without(text: str, spans: Iterable[Span]) -> str:
    """`text` with these parts of it replaced; the very same object when there are none."""
    parts, done = [], 0
    for start, end in spans:
        if start >= done:
            parts += [text[done:start], MASKED]
            done = end
    return "".join([*parts, text[done:]]) if parts else text
