"""Reads the body of a request once it may be read: after Host, Origin and token were checked, up to
a limit, within a time limit, and as text."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.typedefs import Handler

from exporter.web.guard import PING_PATH, asks_itself, refuse

BODY_SECONDS = 10.0
LARGE_BODY = 1024 * 1024
PING_BODY = 16 * 1024 * 1024
"""A whole log. More than its end is never in memory."""
SMALL_BODY = 64 * 1024
FORM_BODY = 16 * 1024
"""Of the pages that ask for the token themselves: anybody may send this much."""
_LARGE = ("/api/v1/alerts", "/start", "/success", "/fail", "/bars")
"""Alertmanager's groups, and bars of many symbols."""
_WINDOW = 64 * 1024


def body_limit(path: str) -> int:
    """In bytes."""
    if asks_itself(path):
        return FORM_BODY
    if path.startswith(PING_PATH):
        return PING_BODY
    return LARGE_BODY if path.endswith(_LARGE) else SMALL_BODY


@web.middleware
async def read_bodies(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The handler finds the body in memory; that of a ping it reads itself, by
    :func:`end_of_body`."""
    if not request.can_read_body or request.path.startswith(PING_PATH):
        return await handler(request)
    _check_type(request)
    limit = body_limit(request.path)
    limited = request.clone(client_max_size=limit)
    async with _within_limits(request, limit):
        await limited.read()
    return await handler(limited)


async def end_of_body(request: web.Request) -> tuple[bytes, bytes]:
    """The first two bytes of a body, which may say its encoding, and its end, from an even offset
    on: a report counts however much the program printed."""
    limit, size = body_limit(request.path), 0
    beginning, end = b"", bytearray()
    if request.can_read_body:
        async with _within_limits(request, limit):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > limit:
                    raise too_large(limit)
                end += chunk
                beginning = beginning or bytes(end[:2])
                if len(end) > 2 * _WINDOW:
                    del end[: (len(end) - _WINDOW) // 2 * 2]
    return beginning, bytes(end)


@contextlib.asynccontextmanager
async def _within_limits(request: web.Request, limit: int) -> AsyncIterator[None]:
    """Around reading: every way in which that fails has its answer."""
    if (request.content_length or 0) > limit:
        raise too_large(limit)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            yield
    except TimeoutError:
        error = refuse(408, f"the body did not arrive within {BODY_SECONDS:.0f} s")
        error.force_close()
        raise error from None
    except web.HTTPRequestEntityTooLarge:
        raise too_large(limit) from None
    except ConnectionError:
        error = refuse(400, "the connection ended before the body did")
        error.force_close()
        raise error from None  # nobody hears it: a client that leaves is not an error of ours
    except web.RequestPayloadError as error:
        raise refuse(400, f"the body cannot be read: {error}") from error


def _check_type(request: web.Request) -> None:
    if request.content_type.startswith("multipart/"):
        raise refuse(400, "multipart bodies are not accepted here")
    try:
        b"    ".decode(request.charset or "utf-8", "replace")
    except (LookupError, ValueError):
        raise refuse(400, f"unknown charset {request.charset!r}; send UTF-8") from None


def too_large(limit: int) -> web.HTTPException:
    """413, with the limit."""
    return refuse(413, f"the body is too large; the limit here is {limit // 1024} kB")
