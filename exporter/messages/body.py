"""A message as a channel shows it: Markdown with tables in a fixed pitch, HTML, or plain lines.

What stands in a message is text: nothing in it becomes markup, a link to everybody, or an address.
A body that is too long loses rows of its longest table first, then its end.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from typing import Literal

from exporter.messages.message import ChannelMessage, MessageTable
from exporter.redaction.truncate import truncate_at_word

Style = Literal["markdown", "slack", "webhook", "html", "text"]
"""In Slack's Markdown nothing can be escaped; apprise makes one star of two there, and in a webhook
of that kind one star is bold."""

_MARKUP = re.compile(r"([*_`\[])")
"""What a backslash makes text in Discord's and in Telegram's Markdown alike."""
_TO_ALL = re.compile(
    r"@(?=everyone\b|here\b|channel\b)|<|(?<=~)(?=~)|(?<=\|)(?=\|)|^(?=[>#])", re.M
)
_NOTHING = "\u200b"
"""A character without width, which keeps `@everyone` from being an address."""
_MARK = " […]"
"""What stands at the end of a text that was cut."""
_FENCED = ("markdown", "slack", "webhook")
WIDEST = 46
"""Characters of a row in a fixed pitch: what a phone shows without breaking it."""


def body(message: ChannelMessage, style: Style, limit: int) -> str:
    """Everything but the title, in at most `limit` characters."""
    parts = list(message.parts)
    while len(text := _joined(parts, style)) > limit:
        tables = [part for part in parts if isinstance(part, MessageTable) and len(part.rows) > 3]
        if not tables:
            return _cut(text, style, limit)
        longest = max(tables, key=lambda table: len(table.rows))
        parts[parts.index(longest)] = _shorter(longest)
    return text


def _shorter(table: MessageTable) -> MessageTable:
    """With a third of its rows less, and a note that says how many are left out."""
    rows = table.rows[: max(3, len(table.rows) * 2 // 3)]
    left = re.match(r"… and (\d+) more\. ?", table.note)
    missing = len(table.rows) - len(rows) + (int(left[1]) if left else 0)
    rest = table.note[left.end() :] if left else table.note
    return MessageTable(table.title, table.head, rows, f"… and {missing} more. {rest}".strip())


def _cut(text: str, style: Style, limit: int) -> str:
    if style == "html":
        text = re.sub(r"<[^>]*>", " ", text)  # half a tag would spoil the rest
    short = truncate_at_word(text, limit - len(_MARK) - len("\n```"))
    return short + "\n```" if style in _FENCED and short.count("```") % 2 else short


def _joined(parts: Sequence[str | MessageTable], style: Style) -> str:
    if style == "html":
        return "".join(_html(part) for part in parts)
    if style in _FENCED:
        plain = _escaped if style == "markdown" else _unaddressed
        bold = "*" if style == "webhook" else "**"
        return "\n\n".join(_fenced(part, plain, bold) for part in parts)
    return "\n\n".join(_text(part) for part in parts)


def _fenced(part: str | MessageTable, plain: Callable[[str], str], bold: str) -> str:
    if isinstance(part, str):
        return plain(part)
    lines = [f"{bold}{plain(part.title)}{bold}"] if part.title else []
    if part.rows:
        # A fence cannot be closed by what stands in it, and nothing in it is markup.
        rows = [row.replace("```", "'''") for row in _fixed_pitch(part)]
        lines += ["```", *map(_unaddressed, rows), "```"]
    lines += [plain(part.note)] if part.note else []
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return _unaddressed(_MARKUP.sub(r"\\\1", text))


def _unaddressed(text: str) -> str:
    return _TO_ALL.sub(rf"\g<0>{_NOTHING}", text).replace("```", "'''")


def _fixed_pitch(table: MessageTable) -> list[str]:
    """Columns under each other, the first at the left, numbers at the right; a row that is wider
    than a phone keeps its cells, without columns."""
    rows = [list(table.head), *map(list, table.rows)]
    count = max(len(row) for row in rows)
    rows = [row + [""] * (count - len(row)) for row in rows]
    widths = [max(len(row[n]) for row in rows) for n in range(count)]
    if sum(widths) + 2 * (count - 1) > WIDEST:
        return ["  ".join(cell for cell in row if cell and cell != "–") for row in rows]
    return [
        "  ".join(
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _text(part: str | MessageTable) -> str:
    if isinstance(part, str):
        return part
    lines = [part.title] if part.title else []
    lines += ["• " + "  ".join(cell for cell in row if cell and cell != "–") for row in part.rows]
    return "\n".join(lines + ([part.note] if part.note else []))


def _html(part: str | MessageTable) -> str:
    if isinstance(part, str):
        return "<p>" + "<br>".join(html.escape(line) for line in part.splitlines()) + "</p>"
    cells = "padding:2px 12px 2px 0;text-align:left;vertical-align:top"
    made = f"<h3>{html.escape(part.title)}</h3>" if part.title else ""
    if part.rows:
        rows = [
            "<tr>" + "".join(f'<{tag} style="{cells}">{html.escape(c)}</{tag}>' for c in row)
            + "</tr>"
            for tag, row in (("th", part.head), *(("td", row) for row in part.rows))
        ]  # fmt: skip
        made += f'<table style="border-collapse:collapse">{"".join(rows)}</table>'
    return made + (f"<p>{html.escape(part.note)}</p>" if part.note else "")
