"""The runbook as HTML: a section for each alert, with the anchor that messages link to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from markupsafe import Markup


@dataclass(frozen=True)
class Chapter:
    """One ``##`` heading and what follows; the first section has no title."""

    title: str
    html: Markup

    @property
    def anchor(self) -> str:
        """As GitHub makes it of a heading."""
        return re.sub(r"[^\w\- ]", "", self.title.lower()).replace(" ", "-")


@lru_cache(maxsize=2)
def sections(text: str) -> tuple[Chapter, ...]:
    """Markdown, cut at its ``##`` headings; the ``#`` heading is left to the page. HTML in it is
    shown as text, and links to other files of the repository are left out."""
    from markdown_it import MarkdownIt  # only when somebody reads it

    markdown = MarkdownIt("commonmark", {"html": False})
    body = re.sub(r"\A# .*\n", "", text)
    body = re.sub(r"\[([^\]\n]+)\]\((?!https?://|#)[^)\n]*\)", r"\1", body)
    first, *rest = re.split(r"^## +", body, flags=re.MULTILINE)
    found = [Chapter("", Markup(markdown.render(first)))]  # noqa: S704 - html is off
    for part in rest:
        title, _, below = part.partition("\n")
        found.append(Chapter(title.strip(), Markup(markdown.render(below))))  # noqa: S704
    return tuple(found)
