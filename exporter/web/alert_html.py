"""HTML of the pages that messages link to, in the status page's style."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from aiohttp import web

from exporter.util.units import format_duration

TIMES = ("1h", "2h", "8h", "1d")
DEFAULT_TIME = "2h"
_TONES = {"critical": "bad", "warning": "warn"}


def page(title: str, body: str, status: int = 200) -> web.Response:
    """A complete page; `body` is HTML."""
    text = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        '<link rel="stylesheet" href="/status/status.css">'
        f'<title>{title} · quant-exporter</title><main class="ask"><h1>{title}</h1>{body}</main>'
        '<p><a href="/">Status</a></p></html>'
    )
    return web.Response(text=text, content_type="text/html", status=status)


def form(labels: Mapping[str, str], texts: Sequence[str], *, known: bool) -> str:
    """What it is about, for how long, and the token where the device has none yet."""
    hidden = "".join(
        f'<input type="hidden" name="{html.escape(n)}" value="{html.escape(v)}">'
        for n, v in sorted(labels.items())
    )
    token = (
        ""
        if known
        else "<p><label>Token, once on this device "
        "(the file <code>token</code> next to the state file)"
        '<input type="password" name="token" autocomplete="current-password" required></label></p>'
    )
    times = "".join(
        f"<option{' selected' if one == DEFAULT_TIME else ''}>{one}</option>" for one in TIMES
    )
    paragraphs = [f"<p>{html.escape(text)}</p>" for text in texts] or [
        '<p class="quiet">No channel was notified that it fires now; it may be over.</p>'
    ]
    return (
        f'{_card(labels, paragraphs)}<form method="post" action="/ack">{hidden}{token}'
        f'<p><label>For<select name="for">{times}</select></label></p>'
        '<p><label>Note<input name="comment" maxlength="500"></label></p>'
        "<p><button>Acknowledge</button></p></form>"
    )


def done(found: Sequence[Mapping[str, str]], left: float) -> web.Response:
    """Acknowledged, for `left` seconds."""
    cards = "".join(_card(labels, ()) for labels in found)
    words = f"<p>For {format_duration(round(left))}. You get a message when it is resolved.</p>"
    return page("Acknowledged", cards + words)


def refused(why: str, status: int) -> web.Response:
    """Not acknowledged, and why."""
    return page("Not acknowledged", f"<p>{html.escape(why)}</p>", status)


def runbook(text: str) -> web.Response:
    """The Markdown as it stands, with an anchor at each alert."""
    lines = []
    for line in html.escape(text).splitlines():
        name = line.removeprefix("## ")
        lines.append(f'<b id="{name.lower()}">{name}</b>' if line != name else line)
    return page("Runbook", '<pre class="long">' + "\n".join(lines) + "</pre>")


def _card(labels: Mapping[str, str], texts: Sequence[str]) -> str:
    tone = _TONES.get(labels.get("severity", ""), "idle")
    rest = ", ".join(
        f"{html.escape(n)} {html.escape(v)}"
        for n, v in sorted(labels.items())
        if n not in ("alertname", "job", "severity")
    )
    name = html.escape(labels.get("alertname", ""))
    tier = html.escape(labels.get("severity", ""))
    head = f'<p><b>{name}</b> <span class="word">{tier}</span></p>'
    return f'<div class="verdict {tone}">{head}{"".join(texts)}<p class="quiet">{rest}</p></div>'
