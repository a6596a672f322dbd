"""Makes a digest in a process of its own, so that DuckDB's memory is freed afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys

from exporter.logs.digest.facts import LogDigest, Request


class DigestError(Exception):
    """No digest was made; the message has the last line of the process' output."""


async def build_apart(request: Request, timeout: float) -> LogDigest:
    """As :func:`exporter.logs.digest.build.build`, in another process.

    Raises :class:`DigestError`, and :class:`TimeoutError` after `timeout` seconds.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "exporter.logs.digest",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(timeout):
            out, err = await process.communicate(json.dumps(request.to_json()).encode())
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode:
        tail = err.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise DigestError(f"the digest process exited with {process.returncode}: {tail}")
    return LogDigest.from_json(json.loads(out))
