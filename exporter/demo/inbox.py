"""The page of the sinks: what a person would have received, newest first, as a phone shows it."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.util.clock import utc
from exporter.web.status.templating import fill

_TONES = (("OK", "#2eb67d"), ("CRITICAL", "#d93f3f"), ("WARNING", "#e8a317"))
_GREY = "#808080"


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
    cards = [_card(message) for message in reversed(received)]
    return fill("inbox.html", 0.0, "UTC", cards=cards, incidents=open_incidents, beats=beats)


def _card(message: Message) -> dict[str, Any]:
    tone = next((colour for word, colour in _TONES if word in message.title), _GREY)
    text, links = _said(message)
    title = message.title or f"answered {message.status}: {'; '.join(message.problems)}"
    if not text and message.status < 300:  # one text: its first line is the title
        title, _, text = title.partition("\n")
    return {
        "tone": _GREY if message.status >= 300 else tone,
        "time": f"{utc(message.at):%H:%M:%S}",
        "sink": message.sink,
        "title": title.strip("*"),
        "parts": _parts(text),
        "links": links,
        "complete": _whole(message),
    }


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


def _parts(text: str) -> list[tuple[str, str]]:
    """As Slack shows it: texts, headings and tables, in their order."""
    found = []
    for place, piece in enumerate(text.split("```")):
        if place % 2:
            found.append(("table", piece.strip("\n")))
            continue
        for line in filter(None, map(str.strip, piece.split("\n\n"))):
            heading = line.startswith("*") and line.endswith("*")
            found.append(("heading" if heading else "text", line.strip("*") if heading else line))
    return found


def _whole(message: Message) -> str:
    if message.sink == "email":
        return str(message.body["text"])
    return json.dumps(message.body, indent=1, ensure_ascii=False)
