"""The templates of all pages: one environment, in which each template is compiled once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from exporter.web.status import sparkline, uptime
from exporter.web.status.filters import FILTERS, LocalTimes

MARKS = {"fine": "●", "warn": "▲", "bad": "✖", "idle": "○"}


@cache
def environment() -> Environment:
    """Shared by all pages. What differs from page to page is in the template's context, never
    here: a change of filters would compile every template again, which takes 100 ms."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        auto_reload=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(FILTERS)
    made.globals.update(marks=MARKS, spark=sparkline.draw, uptime=uptime.draw, root="", refresh=0)
    return made


def fill(template: str, now: float, zone: str, **given: Any) -> str:
    """A template as text. `now` is the moment (Unix seconds) and `zone` the user's; times are
    written as seen from there."""
    times = LocalTimes(now, zone)
    return environment().get_template(template).render(now=now, zone=zone, times=times, **given)


def answer(text: str, status: int = 200) -> web.Response:
    """A page that nobody keeps, compressed."""
    response = web.Response(text=text, status=status, content_type="text/html")
    response.enable_compression()
    return response
