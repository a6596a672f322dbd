"""What stands in a message stays text, in every form, and fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.messages.body import WIDEST, body
from exporter.messages.message import ChannelMessage, MessageTable

TEXTS = st.text(alphabet=st.sampled_from("ab`*_<>&|#\\@!\n 1"), max_size=60)
CELLS = st.text(alphabet=st.sampled_from("ab`*<>&|1 "), max_size=12)
TABLES = st.builds(
    MessageTable, CELLS, st.just(("A", "B")), st.lists(st.tuples(CELLS, CELLS), max_size=30), TEXTS
)
MESSAGES = st.builds(ChannelMessage, st.just("t"), st.lists(TEXTS | TABLES, max_size=5))


@given(MESSAGES, st.sampled_from(["markdown", "webhook", "html", "text"]), st.integers(100, 3000))
def test_no_message_is_longer_than_its_channel_takes(
    message: ChannelMessage, style: str, limit: int
) -> None:
    """Nor leaves a fence or a tag open."""
    text = body(message, style, limit)  # type: ignore[arg-type]
    assert len(text) <= limit
    if style in ("markdown", "webhook"):
        assert text.count("```") % 2 == 0
    if style == "html":
        assert text.count("<table") == text.count("</table>")


def test_markup_in_a_text_is_text() -> None:
    """An error's stars, a symbol's underscore, a call to everybody, a link. Slack cannot escape: a
    pair of stars is bold there."""
    fence = MessageTable("", ("x",), [("```<!here>",)])
    message = ChannelMessage("t", ["*a* b_c [c](d) <!here> @everyone", "# e ||f|| ~~g~~", fence])
    fenced = "```\nx\n'''<\u200b!here>\n```"
    assert body(message, "markdown", 1000) == (
        "\\*a\\* b\\_c \\[c](d) <\u200b!here> @\u200beveryone\n\n"
        f"\u200b# e |\u200b|f|\u200b| ~\u200b~g~\u200b~\n\n{fenced}"
    )
    assert body(message, "slack", 1000).startswith(
        "*a* b_c [c](d) <\u200b!here> @\u200beveryone\n\n"
    )
    assert "&lt;!here&gt;" in body(message, "html", 1000)


def test_columns_stand_under_each_other_where_they_fit() -> None:
    """A row that a phone would break loses its columns instead."""
    table = MessageTable("", ("Symbol", "Move"), [("NVDA.US", "+1.00%"), ("SPY.US", "-10.00%")])
    assert body(ChannelMessage("t", [table]), "markdown", 1000) == (
        "```\nSymbol      Move\nNVDA.US   +1.00%\nSPY.US   -10.00%\n```"
    )
    wide = MessageTable("", ("Error", "Count"), [("x" * WIDEST, "3"), ("y", "–")])
    assert body(ChannelMessage("t", [wide]), "markdown", 1000) == (
        f"```\nError  Count\n{'x' * WIDEST}  3\ny\n```"
    )


@pytest.mark.parametrize("style", ["markdown", "text", "html"])
def test_a_table_that_is_too_long_says_how_many_rows_are_missing(style: str) -> None:
    """The note that it had stays."""
    table = MessageTable("", ("S", "M"), [(f"S{n:03}", "1") for n in range(300)], "All of them.")
    text = body(ChannelMessage("t", [table]), style, 2200)  # type: ignore[arg-type]
    shown = sum(f"S{n:03}" in text for n in range(300))
    assert 10 <= shown < 300
    assert f"… and {300 - shown} more. All of them." in text
