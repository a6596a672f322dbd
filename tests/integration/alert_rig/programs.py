"""The user's programs, as the rows of the table of faults configure them. `params` say from when on
(Unix seconds) and until when one is broken; before and after, it does well."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

from exporter.tasks import Context, NoData, StaleData


def _breaks(how: Callable[[Context], Awaitable[object]]) -> Callable[[Context], Awaitable[object]]:
    async def program(context: Context) -> object:
        begin, end = context.params["from"], context.params["until"]
        return await how(context) if begin <= context.clock.now() < end else 3

    return program


@_breaks
async def fails(context: Context) -> object:
    raise RuntimeError("the broker does not answer")


@_breaks
async def fails_at_first(context: Context) -> object:
    if context.attempt == 1:
        raise RuntimeError("the broker does not answer at once")
    return 3


@_breaks
async def hangs(context: Context) -> object:
    return await asyncio.sleep(3600)


@_breaks
async def has_no_data(context: Context) -> object:
    raise NoData("SPY.US: no bar")


@_breaks
async def has_stale_data(context: Context) -> object:
    raise StaleData("SPY.US: the newest bar is of yesterday")


@_breaks
async def gives_up(context: Context) -> object:
    sys.exit(3)


@_breaks
async def says_no(context: Context) -> object:
    return False


@_breaks
async def does_little(context: Context) -> object:
    return 1


async def fetches(context: Context) -> object:
    return len(await context.latest(["SPY.US"], "5m"))
