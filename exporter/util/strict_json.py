"""JSON that others send, read once and for all: what cannot be kept or shown is no JSON."""

from __future__ import annotations

import json
from typing import Any


def read(text: str) -> Any:
    """The value. Raises :class:`ValueError` for what is no JSON, nests without end, or holds half
    a character (a lone surrogate), which neither the state nor a scrape could carry."""
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it nests too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("a text in it holds half a character (a lone surrogate)") from None
    return value
