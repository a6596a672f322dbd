"""What an answer without data says about itself, for people: a refusal without its reason leaves
nothing to do."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_MOST_BYTES = 20_000
_KEYS = (
    "message", "msg", "error_message", "errorMessage", "error", "errors", "detail", "description",
    "reason", "Error Message", "Note", "Information",
)  # fmt: skip


def said_by(body: bytes | bytearray) -> str:
    """The reason that a body gives, not masked yet; empty where it gives none."""
    text = bytes(body[:_MOST_BYTES]).decode("utf-8", "replace").strip()
    if text.startswith("<"):
        title = re.search(r"<title[^>]{0,200}>([^<]{1,300})", text, re.IGNORECASE)
        return title[1].strip() if title else ""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return text if text.isprintable() or "\n" in text else ""
    return reason_in(data)


def reason_in(data: Any) -> str:
    """The same for what is parsed already."""
    if isinstance(data, list):
        return reason_in(data[0]) if data else ""
    if not isinstance(data, Mapping):
        return data if isinstance(data, str) else ""
    for key in _KEYS:
        if found := reason_in(data.get(key)):
            return found
    return ""
