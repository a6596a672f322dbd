"""JSON that others send. What cannot be kept or shown is refused here."""

from __future__ import annotations

import json
from typing import Any


def read(text: str) -> Any:
    """The value. Raises :class:`ValueError` for text that is not JSON, nests too deeply, or has
    half a character (a lone surrogate), which neither the state nor a scrape can carry."""
    try:
        value = json.loads(text, parse_int=_integer)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it nests too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("a text in it contains half a character (a lone surrogate)") from None
    return value


def _integer(text: str) -> int:
    """Only what is a number everywhere: a float cannot hold 400 digits."""
    if len(text) > 300:
        raise ValueError(f"a number in it has {len(text)} digits")
    return int(text)
