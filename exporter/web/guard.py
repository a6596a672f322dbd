"""Who may read and write.

Reading is open on the address that the exporter listens on. Every write needs the token and one of
the exporter's own names as Host (and, from a browser, as Origin), so that no page on the internet
can use the exporter through the user's browser. A GET changes nothing, except for pings with the
token.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

RETRY_AFTER = "5"
"""Seconds, with every 503."""
PING_PATH = "/ping/"
"""What follows is the key itself; see :mod:`exporter.web.ping_keys`."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Guard:
    """Checks Host, Origin and token."""

    def __init__(
        self,
        token: str,
        hosts: Iterable[str],
        ping_problem: Callable[[str], str | None] = lambda _: "not found",
    ) -> None:
        self._token, self._ping_problem = token.encode(), ping_problem
        self.apply(hosts)

    def apply(self, hosts: Iterable[str]) -> None:
        """Set the exporter's own names, in addition to those of loopback."""
        self.hosts = frozenset({*_LOOPBACK, *(h.lower() for h in hosts)})

    def middleware(self) -> Middleware:
        """For every request."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._check_host(request)
            if request.path.startswith(PING_PATH):
                # Before its body is read: nobody else may send one.
                if problem := self._ping_problem(request.path):
                    raise refuse(404, problem)
            elif request.method not in ("GET", "HEAD"):
                self._check_origin(request)
                if not asks_itself(request.path):
                    self.require_token(request)
            return await handler(request)

        return check

    def _check_host(self, request: web.Request) -> None:
        """Against DNS rebinding, for every path: a page of another site can make its own name lead
        to the exporter, but then that name is the Host, and it has a dot in it."""
        host = request.headers.get("Host")
        if host is None:  # not a browser
            return
        name = _hostname(f"//{host}").removesuffix(".")
        if name not in self.hosts and not _is_local(name):
            raise refuse(403, f"unknown Host {host!r}: set public_url, or add it to allowed_hosts")

    def _check_origin(self, request: web.Request) -> None:
        site = request.headers.get("Sec-Fetch-Site")
        if site == "same-origin":
            return  # the browser's own word; behind a proxy the Origin may have another name
        if site not in (None, "none"):
            raise refuse(403, "another site may not write here")
        origin = request.headers.get("Origin")
        own = {*self.hosts, _hostname(f"//{request.host}")}
        if origin is not None and _hostname(origin) not in own:
            raise refuse(403, f"Origin {origin!r} may not write here")

    def require_token(self, request: web.Request) -> None:
        """Answer 401 unless the request carries the token, in the header or the query."""
        if not self.has_token(request):
            error = refuse(
                401,
                "missing or wrong token: send Authorization: Bearer <token>, from the token file",
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
        return hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token)


def asks_itself(path: str) -> bool:
    """Whether it is a page's own form, whose handler reads the token from it."""
    return path == "/ack" or path.startswith("/tasks/")


def _is_local(name: str) -> bool:
    """An address, or a name without a dot: no other site can have it."""
    if "." not in name and ":" not in name:
        return name != ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


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
    """An error answer: ``{"error": "what is wrong and what to do"}``."""
    kinds: dict[int, type[web.HTTPException]] = {
        401: web.HTTPUnauthorized,
        403: web.HTTPForbidden,
        404: web.HTTPNotFound,
        405: _MethodNotAllowed,
        408: web.HTTPRequestTimeout,
        409: web.HTTPConflict,
        413: _TooLarge,
        429: web.HTTPTooManyRequests,
        500: web.HTTPInternalServerError,
        503: web.HTTPServiceUnavailable,
    }
    kind = kinds.get(status, web.HTTPBadRequest)
    error = kind(text=json.dumps({"error": text}) + "\n", content_type="application/json")
    if status == 503:
        error.headers["Retry-After"] = RETRY_AFTER
    return error
