"""The runbook as sections of HTML."""

from exporter.util.shipped import shipped
from exporter.web.runbook import sections

TEXT = """# Runbook

Read **first**.

## QuantTaskFailing

1. See [config.md](config.md) and [the status](https://example.com/).

<script>alert(1)</script>

## A heading, of words

Last.
"""


def test_each_heading_is_a_section_with_the_anchor_that_messages_use() -> None:
    """Rendered, with nothing in it obeyed and no link that leads nowhere."""
    first, failing, last = sections(TEXT)
    assert (first.title, first.html) == ("", "<p>Read <strong>first</strong>.</p>\n")
    assert (failing.title, failing.anchor) == ("QuantTaskFailing", "quanttaskfailing")
    assert (
        '<li>See config.md and <a href="https://example.com/">the status</a>.</li>' in failing.html
    )
    assert "<script" not in failing.html
    assert last.anchor == "a-heading-of-words"


def test_every_alert_of_the_shipped_runbook_has_one() -> None:
    """No heading is lost."""
    text = shipped("docs/runbook.md").read_text(encoding="utf-8")
    titles = [section.title for section in sections(text) if section.title]
    assert titles == [line[3:] for line in text.splitlines() if line.startswith("## ")]
