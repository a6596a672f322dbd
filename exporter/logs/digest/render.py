"""A digest for people: Markdown for files, HTML for mail and pages."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from exporter.logs.digest.facts import LogDigest
from exporter.logs.digest.sections import headline, sections


def markdown(digest: LogDigest) -> str:
    """With tables; one line on a quiet day."""
    lines = [_cell(headline(digest))]
    for section in sections(digest):
        lines += ["", f"## {section.title}", ""]
        if section.rows:
            lines.append("| " + " | ".join(section.head) + " |")
            lines.append("|" + "---|" * len(section.head))
            lines += ["| " + " | ".join(_cell(c) for c in row) + " |" for row in section.rows]
        if section.note:
            lines += [*([""] if section.rows else []), section.note]
    return "\n".join(lines) + "\n"


def page(digest: LogDigest) -> str:
    """A self-contained HTML page, for mail and for a browser."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>Digest {html.escape(digest.title)}</title>"
        "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
        "padding:0 1rem}table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;"
        "text-align:left;vertical-align:top;border-bottom:1px solid #8884}</style>"
        f"<body>{body(digest)}</body></html>\n"
    )


def body(digest: LogDigest) -> str:
    """The content of that page, for the status page."""
    parts = [f"<p>{html.escape(headline(digest))}</p>"]
    for section in sections(digest):
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        if section.rows:
            parts.append(f"<table><thead>{_row(section.head, 'th')}</thead><tbody>")
            parts += [_row(row, "td") for row in section.rows]
            parts.append("</tbody></table>")
        if section.note:
            parts.append(f"<p>{html.escape(section.note)}</p>")
    return "".join(parts)


def _cell(text: str) -> str:
    """Escaped for a Markdown table: no end of a cell, no markup, no link, no picture."""
    return re.sub(r"[\\|\[\]`]", r"\\\g<0>", text).replace("<", "&lt;")


def _row(cells: Iterable[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(c)}</{tag}>' for c in cells)}</tr>"
