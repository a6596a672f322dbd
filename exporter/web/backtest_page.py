"""The reports of backtests, as the runs wrote them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from exporter.config import Config
from exporter.config.paths import reports_folder

_NAME = re.compile(r"\d{4}-\d\d-\d\d(?:-\d+d)?")
_STYLE = re.compile(rb"<style>(.*?)</style>", re.DOTALL)


class BacktestPages:
    """``/backtests`` is the newest report, ``/backtests/2026-11-29`` that of a day."""

    def __init__(self, config: Callable[[], Config]) -> None:
        self._config = config

    def routes(self) -> list[web.RouteDef]:
        """To be mounted; they only read."""
        return [
            web.get("/backtests", self.newest),
            web.get("/backtests/{day}", self.named),
        ]

    async def newest(self, request: web.Request) -> web.Response:
        """The report of the newest run that the metrics are of."""
        folder = reports_folder(self._config())
        return await _page(await asyncio.to_thread(_newest, folder))

    async def named(self, request: web.Request) -> web.Response:
        """That of a day, as its file is called."""
        name = request.match_info["day"]
        if not _NAME.fullmatch(name):
            return await _page(None)
        return await _page(reports_folder(self._config()) / f"backtest-{name}.html")


def _newest(folder: Path) -> Path | None:
    return max(folder.glob("backtest-????-??-??.html"), default=None)


async def _page(file: Path | None) -> web.Response:
    try:
        body = b"" if file is None else await asyncio.to_thread(file.read_bytes)
    except OSError:
        body = b""
    if not body:
        text = "<!doctype html><title>No report</title><p>No backtest has a report here yet.</p>\n"
        raise web.HTTPNotFound(text=text, content_type="text/html")
    style = _STYLE.search(body)
    digest = base64.b64encode(hashlib.sha256(style[1] if style else b"").digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    response = web.Response(body=body, content_type="text/html", charset="utf-8")
    response.headers["Content-Security-Policy"] = policy
    response.enable_compression()
    return response
