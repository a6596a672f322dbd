"""The write token of the pages' own forms: typed once on each device, then in a cookie."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

COOKIE = "quant_ack"
_KEPT_SECONDS = 90 * 86400


def given_token(request: web.Request, form: Mapping[str, str]) -> str:
    """From the form, else from the cookie."""
    return form.get("token") or request.cookies.get(COOKIE, "")


def remember(request: web.Request, answer: web.Response, token: str, path: str) -> None:
    """Ask once a device. Lax: a link in a message opens with the cookie, a foreign form posts
    without it."""
    answer.set_cookie(
        COOKIE, token, path=path, max_age=_KEPT_SECONDS, httponly=True, samesite="Lax",
        secure=request.secure or request.headers.get("X-Forwarded-Proto") == "https",
    )  # fmt: skip
