"""The templates of all pages: one environment, in which each template is compiled once."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.utils import url_quote
from markupsafe import Markup

from exporter import __version__
from exporter.util.give_way import TakeTurns
from exporter.web.status import sparkline, uptime
from exporter.web.status.filters import FILTERS, LocalTimes

if TYPE_CHECKING:
    from exporter.web.status.page_parts import RecordParts

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
    made.filters.update(FILTERS, urlencode=lru_cache(maxsize=4096)(url_quote))
    made.globals.update(marks=MARKS, mark=_mark, spark=sparkline.draw, uptime=_uptime)
    made.globals.update(root="", refresh=0)
    return made


# Hundreds of rows share these pieces: each is put together once.


@lru_cache(maxsize=1024)
def _mark(level: str, text: str) -> Markup:
    """A level's mark and a word for it."""
    return Markup(
        '<span class="word {}"><span class="mark" aria-hidden="true">{}</span> {}</span>'
    ).format(level, MARKS[level], text)


@lru_cache(maxsize=1024)
def _uptime(days: tuple[float, ...], what: str) -> Markup:
    """The picture of thirty days."""
    if not days:
        return Markup('<span class="spark quiet">no runs yet</span>')
    drawn = uptime.draw(days, what)
    return Markup(
        '<svg class="spark" role="img" aria-label="{words}" viewBox="0 0 120 24"'
        ' preserveAspectRatio="none"><title>{words}</title><path class="good" d="{good}"/>'
        '<path class="failed" d="{failed}"/><path class="empty" d="{empty}"/></svg>'
    ).format(words=drawn.words, good=drawn.good, failed=drawn.failed, empty=drawn.empty)


def fill(template: str, now: float, zone: str, **given: Any) -> str:
    """A template as text. `now` is the moment (Unix seconds) and `zone` the user's; times are
    written as seen from there."""
    times = LocalTimes(now, zone)
    return environment().get_template(template).render(now=now, zone=zone, times=times, **given)


async def fill_in_pieces(template: str, now: float, zone: str, **given: Any) -> str:
    """The same for a page that may be long: everything else on the event loop has its turn every
    few milliseconds."""
    times, pieces, take_turns = LocalTimes(now, zone), [], TakeTurns()
    for piece in (
        environment().get_template(template).generate(now=now, zone=zone, times=times, **given)
    ):
        pieces.append(piece)
        await take_turns()
    return "".join(pieces)


def answer(text: str, status: int = 200) -> web.Response:
    """A page that nobody keeps, compressed."""
    response = web.Response(text=text, status=status, content_type="text/html")
    response.enable_compression()
    return response


def detail_page(
    parts: RecordParts, template: str, status: int = 200, /, **given: Any
) -> web.Response:
    """A page one level below the status page."""
    now, zone = parts.clock.now(), parts.config().timezone
    return answer(fill(template, now, zone, root="../", version=__version__, **given), status)


def nothing_there(parts: RecordParts, status: int, text: str) -> web.Response:
    """In place of such a page."""
    return detail_page(parts, "nothing.html", status, text=text)
