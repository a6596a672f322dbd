"""The pages that messages link to, in the status page's style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from exporter.web.runbook import sections
from exporter.web.status.templating import answer, fill

TIMES = ("1h", "2h", "8h", "1d")
DEFAULT_TIME = "2h"


def form(
    heading: str, labels: Mapping[str, str], texts: Sequence[str], *, known: bool, status: int = 200
) -> web.Response:
    """What it is about, for how long, and the token where the device has none yet."""
    return _page(
        "ack.html", heading, status, labels=labels, texts=texts, known=known,
        times_to_choose=TIMES, default_time=DEFAULT_TIME,
    )  # fmt: skip


def done(found: Sequence[Mapping[str, str]], left: float) -> web.Response:
    """Acknowledged, for `left` seconds."""
    return _page("acked.html", "Acknowledged", found=found, left=float(round(left)))


def refused(why: str, status: int) -> web.Response:
    """Not acknowledged, and why."""
    return _page("plain.html", "Not acknowledged", status, text=why)


def runbook(text: str) -> web.Response:
    """The Markdown as a page, with an anchor at each alert."""
    return _page("runbook.html", "Runbook", sections=sections(text))


def _page(template: str, heading: str, status: int = 200, **given: Any) -> web.Response:
    text = fill(template, 0.0, "UTC", root="/", heading=heading, **given)
    return answer(text, status)
