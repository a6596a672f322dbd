"""How bodies are read before anybody acts on them."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiohttp import web

from exporter.web.bodies import read_bodies


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is done, and no traceback is logged: a laptop that sleeps does so each evening."""
    over = asyncio.Event()
    called = []

    @web.middleware
    async def outermost(request: web.Request, handler: object) -> web.StreamResponse:
        try:
            return await handler(request)  # type: ignore[operator, no-any-return]
        finally:
            over.set()

    async def act(request: web.Request) -> web.Response:
        called.append(await request.read())
        return web.Response()

    app = web.Application(middlewares=[outermost, read_bodies])
    app.router.add_post("/x", act)
    runner = web.AppRunner(app)  # a TestServer would cancel what the client left
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        _, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()
        async with asyncio.timeout(5):
            await over.wait()
        await asyncio.sleep(0.02)
    finally:
        await runner.cleanup()
    assert called == []
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []
