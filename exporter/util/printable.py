"""Text from elsewhere as text: nothing in it that a terminal obeys or that turns its direction."""

from __future__ import annotations

import re

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters but for tab and newline, and those that change the direction of writing."""


def clean(text: str) -> str:
    """With an escape such as ``\\x1b`` in place of each such character."""
    if text.isprintable():  # and so without any of them: quicker than the pattern
        return text
    return CONTROL.sub(lambda c: ascii(c[0])[1:-1], text)
