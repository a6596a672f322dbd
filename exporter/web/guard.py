"""Who may ask for what.

Reading is free on the address that we listen on. Every write needs the token, and a Host (and, from
a browser, an Origin) that is ours, so that no page on the internet can reach us through the user's
browser. Nothing changes on a GET, except that a ping with the token counts.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Guard:
    """Checks Host, Origin and token."""

    def __init__(self, token: str, hosts: Iterable[str]) -> None:
        self._token = token.encode()
        self.apply(hosts)

    def apply(self, hosts: Iterable[str]) -> None:
        """Take the names that are ours, beside those of loopback."""
        self.hosts = frozenset({*_LOOPBACK, *(h.lower() for h in hosts)})

    def middleware(self) -> Middleware:
        """For every request."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._check_host(request)
            if request.method not in ("GET", "HEAD"):
                self._check_origin(request)
                if not request.path.startswith("/ack"):  # a page that asks for the token itself
                    self.require_token(request)
            return await handler(request)

        return check

    def _check_host(self, request: web.Request) -> None:
        open_path = request.path == "/metrics" or request.path.startswith("/-/")
        if open_path and request.method in ("GET", "HEAD"):
            return  # scrapers and probes call us by whatever name they know
        if _hostname(f"//{request.host}") not in self.hosts:
            raise refuse(
                403,
                f"Host {request.host!r} is not ours; set public_url, or add it to allowed_hosts",
            )

    def _check_origin(self, request: web.Request) -> None:
        origin = request.headers.get("Origin")
        if origin is not None and _hostname(origin) not in self.hosts:
            raise refuse(403, f"Origin {origin!r} may not write here")
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise refuse(403, "another site may not write here")

    def require_token(self, request: web.Request) -> None:
        """Raise 401 unless the request carries the token (header, or query for pings)."""
        if not self.has_token(request):
            error = refuse(
                401,
                "this needs the token: Authorization: Bearer <token>; it lies in the token file",
            )
            error.headers["WWW-Authenticate"] = "Bearer"
            raise error

    def has_token(self, request: web.Request) -> bool:
        """Whether the request carries the write token."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            given = request.query.get("token", "")
        return self.is_token(given)

    def is_token(self, given: str) -> bool:
        """Compared in constant time."""
        return hmac.compare_digest(given.strip().encode(), self._token)


def _hostname(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


class _MethodNotAllowed(web.HTTPClientError):
    status_code = 405


class _TooLarge(web.HTTPClientError):
    status_code = 413


def refuse(status: int, text: str) -> web.HTTPException:
    """An error answer as JSON: ``{"error": "what is wrong and what to do"}``."""
    kinds: dict[int, type[web.HTTPException]] = {
        401: web.HTTPUnauthorized,
        403: web.HTTPForbidden,
        404: web.HTTPNotFound,
        405: _MethodNotAllowed,
        409: web.HTTPConflict,
        413: _TooLarge,
        500: web.HTTPInternalServerError,
        503: web.HTTPServiceUnavailable,
    }
    kind = kinds.get(status, web.HTTPBadRequest)
    return kind(text=json.dumps({"error": text}) + "\n", content_type="application/json")
