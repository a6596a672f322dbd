"""How long to wait before asking again: what a server asks for, and pauses that grow by chance."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime


def backoff_cap(first: float, retry: int, longest: float = 300.0) -> float:
    """Longest pause in seconds before retry number `retry` (from 0): doubling up to `longest`."""
    return float(min(first * 2.0 ** min(retry, 64), longest))


def backoff_pause(cap: float, rng: random.Random, asked: float | None = None) -> float:
    """Seconds to wait: half of `cap` to all of it, and at least as long as the server `asked` for.

    By chance, so that callers that failed together do not come back together:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ ("equal jitter").
    """
    return max(rng.uniform(cap / 2, cap), asked or 0.0)


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """``Retry-After`` as an integer, a decimal or an HTTP date (RFC 9110, 10.2.3), in seconds.

    A date counts from the answer's own ``Date``: our clock and the server's need not agree. None
    when there is none, or nothing is left to wait for.
    """
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,10})?", text):
        seconds = float(text)
    else:
        at = http_date(text)
        seconds = 0.0 if at is None else at - server_time(headers, now)
    return seconds if seconds > 0 else None


def server_time(headers: Mapping[str, str], now: float) -> float:
    """Unix seconds by the server's clock when it answered; `now` when it does not say."""
    at = http_date(headers.get("Date", ""))
    return now if at is None else at


def http_date(text: str) -> float | None:
    """``Wed, 21 Oct 2015 07:28:00 GMT`` as Unix seconds; None for anything else."""
    try:
        at = parsedate_to_datetime(text.strip()[:100])
        return at.replace(tzinfo=at.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
