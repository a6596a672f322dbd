"""Turns every error of a request into an answer of the usual form: JSON, or a page for people."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler

from exporter.state import StateError
from exporter.web.guard import refuse
from exporter.web.status.templating import answer, fill

logger = logging.getLogger(__name__)

_JSON_PATHS = ("/api/", "/-/")


@web.middleware
async def errors_as_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Where a person looks, a refusal is a page that says why."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400 or _wants_json(request):
            raise
        page = answer(
            fill(
                "plain.html", 0.0, "UTC", root="/", heading=HTTPStatus(error.status).phrase,
                text=_why(error, request),
            ),
            error.status,
        )  # fmt: skip
        for name in ("Retry-After", "WWW-Authenticate", "Allow"):
            if name in error.headers:
                page.headers[name] = error.headers[name]
        return page


def _why(error: web.HTTPException, request: web.Request) -> str:
    if error.content_type == "application/json":
        return str(json.loads(error.text or "{}").get("error", ""))
    if isinstance(error, web.HTTPNotFound):
        return f"There is no page {request.path[:200]} here."
    return error.reason


def _wants_json(request: web.Request) -> bool:
    if request.path.startswith(_JSON_PATHS) or request.path == "/metrics":
        return True
    return "text/html" not in request.headers.get("Accept", "")


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
    except ConnectionError:
        raise  # the client is gone
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
        case _:
            return refuse(error.status, error.reason)
