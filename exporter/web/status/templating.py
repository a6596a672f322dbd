"""What all pages share: templates, words, the strict policy."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from exporter.web.status import sparkline as spark
from exporter.web.status.filters import Words

_HERE = Path(__file__).parent
SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
MARKS = {"fine": "●", "warn": "▲", "bad": "✖", "idle": "○"}


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def fill(template: str, now: float, zone: str, **given: Any) -> str:
    """A template as text. `now` is the moment (Unix seconds) and `zone` the user's, for words."""
    environment = _environment().overlay()
    environment.filters = {**environment.filters, **Words(now, zone).all()}
    given.setdefault("root", "")
    given.setdefault("refresh", 0)
    return environment.get_template(template).render(
        now=now, zone=zone, marks=MARKS, spark=spark.draw, **given
    )


def answer(text: str, status: int = 200) -> web.Response:
    """A page that nobody keeps, compressed."""
    response = web.Response(
        text=text,
        status=status,
        content_type="text/html",
        headers={**SECURITY, "Cache-Control": "no-store"},
    )
    response.enable_compression()
    return response
