"""JSON that others send. What cannot be kept or shown is refused here."""

from __future__ import annotations

import json
from typing import Any


def read(text: str) -> Any:
    """The value. Raises :class:`ValueError` for text that is not JSON, nests too deeply, says a key
    twice, or has half a character (a lone surrogate), which neither the state nor a scrape can
    carry."""
    try:
        value = json.loads(text, parse_int=_integer, object_pairs_hook=_object)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it nests too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("a text in it contains half a character (a lone surrogate)") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Which of two values counts, readers of JSON do not agree on."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return found


def _integer(text: str) -> int:
    """Only what is a number everywhere: a float cannot hold 400 digits."""
    if len(text) > 300:
        raise ValueError(f"a number in it has {len(text)} digits")
    return int(text)
