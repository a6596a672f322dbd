"""The page of the sinks: what a person would have received, newest first, as a phone shows it."""

from __future__ import annotations

import html
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.util.clock import utc

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.4 system-ui, sans-serif; margin: 0 auto; max-width: 44rem; padding: .75rem;
  overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0; }
article { border: 1px solid #8886; border-left: .35rem solid var(--tone); border-radius: .4rem;
  padding: .5rem .75rem; margin: .6rem 0; }
article p { margin: .2rem 0; }
.small { font-size: .85rem; opacity: .8; }
pre { white-space: pre-wrap; font-size: .8rem; }
a { display: inline-block; padding: .3rem .6rem .3rem 0; }
"""
REFRESH = """
setInterval(() => document.querySelector("details[open]") || location.reload(), 2000);
"""
_TONES = (("OK", "#2eb67d"), ("CRITICAL", "#d93f3f"), ("WARNING", "#e8a317"))


@dataclass(frozen=True)
class Message:
    """Something that arrived: `status` is what it was answered, `problems` why not 200."""

    at: float
    sink: str
    status: int
    title: str
    problems: list[str]
    body: Any


def page(received: Sequence[Message], open_incidents: Collection[str], beats: int) -> str:
    """All of it."""
    incidents = ", ".join(html.escape(title) for title in open_incidents) or "none"
    cards = "".join(_card(message) for message in reversed(received)) or "<p>Nothing yet.</p>"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>What arrived</title><style>{STYLE}</style><script>{REFRESH}</script>"
        "<h1>What arrived</h1>"
        f'<p class="small">Times are UTC. PagerDuty\'s open incidents: {incidents}.'
        f" Dead-man service called {beats} times.</p>{cards}</html>"
    )


def _card(message: Message) -> str:
    tone = next((colour for word, colour in _TONES if word in message.title), "#808080")
    if message.status >= 300:
        tone = "#808080"
    title = message.title or f"answered {message.status}: {'; '.join(message.problems)}"
    text, links = _said(message)
    return (
        f'<article style="--tone: {tone}"><p class="small">{utc(message.at):%H:%M:%S}'
        f" {message.sink}</p><p><strong>{html.escape(title)}</strong></p><p>{html.escape(text)}</p>"
        f"<p>{''.join(_link(name, url) for name, url in links)}</p>"
        f'<details class="small"><summary>all of it</summary><pre>{html.escape(_whole(message))}'
        "</pre></details></article>"
    )


def _said(message: Message) -> tuple[str, list[tuple[str, str]]]:
    """The text below the title, and the buttons."""
    body = message.body if isinstance(message.body, dict) else {}
    if message.sink == "email" or message.status >= 300:
        return str(body.get("text") or "").split("\n\n")[0], []
    if message.sink == "pagerduty":
        details = (body.get("payload") or {}).get("custom_details") or {}
        links = [(str(link["text"]), str(link["href"])) for link in body.get("links") or ()]
        return str(details.get("description") or ""), links
    part: dict[str, Any] = next(iter(body.get("attachments") or ()), {})
    buttons = [(str(a["text"]), str(a["url"])) for a in part.get("actions") or ()]
    changed = [str(f["value"]) for f in part.get("fields") or () if f["title"] == "What changed"]
    return " ".join([str(part.get("text") or ""), *(f"({one})" for one in changed)]), buttons


def _link(name: str, url: str) -> str:
    if not url.startswith(("http://", "https://")):
        return html.escape(f"{name} {url}")
    return f'<a href="{html.escape(url)}">{html.escape(name)}</a>'


def _whole(message: Message) -> str:
    if message.sink == "email":
        return str(message.body["text"])
    return json.dumps(message.body, indent=1, ensure_ascii=False)
