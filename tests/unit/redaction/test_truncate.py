"""Texts are masked before they are cut."""

from __future__ import annotations

import pytest

from exporter.redaction.truncate import (
    LOOK_AHEAD,
    TruncatedStr,
    drop_partial_start,
    mask_window,
    truncate_at_word,
    truncate_masked,
)

SECRET = "hunter2hunter2"


def mask(text: str) -> str:
    return text.replace(SECRET, "***")


@pytest.mark.parametrize("before", [*range(80, 101), *range(8080, 8101)])
def test_no_half_secret_is_left(before: int) -> None:
    """Wherever it lies; also when only the beginning of the text was kept."""
    text = "x" * before + SECRET + "x" * 500
    whole = truncate_masked(text, 100, mask)
    assert "h" not in whole
    assert truncate_masked(mask_window(text, 100), 100, mask) == whole
    assert whole == mask(text)[:100]


def test_many_secrets_leave_none_in_half() -> None:
    """Masked they are short, and what stood far behind comes to the front."""
    text = SECRET * 5000
    assert truncate_masked(mask_window(text, 100), 100, mask) == "…"
    assert truncate_masked(TruncatedStr(text[: 100 + LOOK_AHEAD - 3], 3), 100, mask) == "…"


def test_a_beginning_stays_one() -> None:
    """Through str(), as a log record makes its message of it."""
    assert str(TruncatedStr("a", 2)).more == 2  # type: ignore[attr-defined]


def test_a_text_that_is_masked_later_ends_at_a_break() -> None:
    """With the last whole word."""
    assert truncate_at_word("a hunter2", 9) == "a hunter2"
    assert truncate_at_word("a hunter2 b", 9) == "a hunter2 […]"
    assert truncate_at_word("a hunter2 b", 8) == "a […]"
    assert truncate_at_word("hunter2", 3) == "[…]"


def test_a_text_without_its_beginning_begins_at_a_break() -> None:
    """At a line, or else at a word."""
    assert drop_partial_start("ter2 a\nb") == "[…] b"
    assert drop_partial_start("ter2 a b") == "[…] a b"
    assert drop_partial_start("ter2") == "[…] "
