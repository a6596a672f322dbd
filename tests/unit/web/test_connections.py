"""Connections when the process has no file handle left for one more."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from typing import Any

import pytest

from exporter.web.connections import quiet_accept_errors


async def test_connections_that_cannot_be_accepted_are_reported_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In one line that says what to do; any other error of the loop is reported as always."""
    loop = asyncio.get_running_loop()
    quiet_accept_errors(loop)
    handle, contexts = loop.get_exception_handler(), list[dict[str, Any]]()
    assert handle

    def noted(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        contexts.append(context)
        handle(loop, context)

    loop.set_exception_handler(noted)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as client:
        client.setblocking(False)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            client.connect_ex(address)
            for _ in range(100):
                await asyncio.sleep(0.001)
                if contexts:
                    break
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert contexts
    loop.call_exception_handler(contexts[0])
    loop.call_exception_handler({"message": "something else"})
    server.close()
    first, *others = caplog.messages
    assert first.startswith("no connection can be accepted: [Errno 24] Too many open files")
    assert "raise the limit of open files (LimitNOFILE)" in first
    assert others == ["something else"]
