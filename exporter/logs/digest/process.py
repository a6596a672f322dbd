"""Makes a digest in a process of its own, so that DuckDB's memory is freed afterwards."""

from __future__ import annotations

import json

from exporter.logs.digest.facts import LogDigest, Request
from exporter.util.child_process import ask_child


class DigestError(Exception):
    """No digest was made; the message has the last line of the process' output."""


async def build_apart(request: Request, timeout: float) -> LogDigest:
    """As :func:`exporter.logs.digest.build.build`, in another process.

    Raises :class:`DigestError`, and :class:`TimeoutError` after `timeout` seconds.
    """
    order = json.dumps(request.to_json()).encode()
    status, out, last = await ask_child("exporter.logs.digest", order, timeout)
    if status:
        raise DigestError(f"the digest process exited with {status}: {last}")
    return LogDigest.from_json(json.loads(out))
