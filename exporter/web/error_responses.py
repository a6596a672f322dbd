"""What goes wrong in a request, told in the form that the rest of the answers has."""

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
    """Below /api every error is ``{"error": "…"}``, those that aiohttp makes too."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400 or not request.path.startswith(_JSON_PATHS):
            raise
        if error.content_type == "application/json":
            raise
        raise _told(error, request) from error
    except StateError as error:
        raise refuse(503, str(error)) from error
    except Exception as error:
        logger.exception(
            "%s %s could not be answered", request.method, request.path,
            extra={"event": "request_failed"},
        )  # fmt: skip
        raise refuse(500, "this is our mistake; the exporter's log says more") from error


def _told(error: web.HTTPException, request: web.Request) -> web.HTTPException:
    match error:
        case web.HTTPMethodNotAllowed():
            ways = ", ".join(sorted(error.allowed_methods))
            told = refuse(405, f"{request.method} does not work here; use {ways}")
            told.headers["Allow"] = error.headers["Allow"]
            return told
        case web.HTTPNotFound():
            return refuse(404, f"there is no {request.path}; docs/openapi.yaml lists what there is")
        case web.HTTPRequestEntityTooLarge():
            return refuse(413, "the body is too large; 1 MB is the most")
        case _:
            return refuse(error.status, error.reason)
