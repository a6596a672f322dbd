"""A module run in a process of its own, for one order and its answer."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Mapping


async def ask_child(
    module: str, order: bytes, timeout: float, environment: Mapping[str, str] | None = None
) -> tuple[int, bytes, str]:
    """Its exit status, its output, and the last line that it wrote to stderr.

    The process ends with this call, whatever happens. Raises :class:`TimeoutError` after `timeout`
    seconds.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, start_new_session=True,
        env=None if environment is None else dict(environment),
    )  # fmt: skip
    try:
        async with asyncio.timeout(timeout):
            out, err = await process.communicate(order)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    lines = err.decode("utf-8", "replace").strip().splitlines()
    return process.returncode or 0, out, lines[-1] if lines else "no output"
