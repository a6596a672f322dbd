"""Reads the body of a request once it may be read: after Host, Origin and token were checked, up to
a limit, within a time limit, and as text."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler

from exporter.web.guard import PING_PATH, asks_itself, refuse

BODY_SECONDS = 10.0
LARGE_BODY = 1024 * 1024
SMALL_BODY = 64 * 1024
FORM_BODY = 16 * 1024
"""Of the pages that ask for the token themselves: anybody may send this much."""
_LARGE = ("/api/v1/alerts", "/start", "/success", "/fail", "/bars")
"""Alertmanager's groups, the output that a ping may bring along, and bars of many symbols."""


def body_limit(path: str) -> int:
    """In bytes."""
    if asks_itself(path):
        return FORM_BODY
    large = path.startswith(PING_PATH) or path.endswith(_LARGE)
    return LARGE_BODY if large else SMALL_BODY


@web.middleware
async def read_bodies(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The handler finds the body in memory."""
    if not request.can_read_body:
        return await handler(request)
    if not request.path.startswith(PING_PATH):
        _check_type(request)
    limit = body_limit(request.path)
    if (request.content_length or 0) > limit:
        raise too_large(limit)
    limited = request.clone(client_max_size=limit)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            await limited.read()
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
    return await handler(limited)


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
