"""Turns every error of a request into an answer of the usual form."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.typedefs import Handler

from exporter.state import StateError
from exporter.web.guard import refuse

logger = logging.getLogger(__name__)

_JSON_PATHS = ("/api/", "/-/reload")


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Below /api every error is ``{"error": "…"}``, including those that aiohttp raises."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400 or not request.path.startswith(_JSON_PATHS):
            raise
        if error.content_type == "application/json":
            raise
        raise _as_json(error, request) from error
    except StateError as error:
        raise refuse(503, str(error)) from error
    except Exception as error:
        logger.exception(
            "%s %s could not be answered", request.method, request.path,
            extra={"event": "request_failed"},
        )  # fmt: skip
        raise refuse(500, "internal error: see the exporter's log") from error


def _as_json(error: web.HTTPException, request: web.Request) -> web.HTTPException:
    match error:
        case web.HTTPMethodNotAllowed():
            ways = ", ".join(sorted(error.allowed_methods))
            refusal = refuse(405, f"{request.method} is not allowed here; use {ways}")
            refusal.headers["Allow"] = error.headers["Allow"]
            return refusal
        case web.HTTPNotFound():
            return refuse(404, f"there is no {request.path}; see docs/openapi.yaml")
        case web.HTTPRequestEntityTooLarge():
            return refuse(413, "the body is too large; the limit is 1 MB")
        case _:
            return refuse(error.status, error.reason)
