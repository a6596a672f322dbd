"""Texts are masked before they are cut."""

from __future__ import annotations

import pytest

from exporter.redaction.truncate import LOOK_AHEAD, Beginning, after_break, ahead, head, to_break

SECRET = "hunter2hunter2"


def mask(text: str) -> str:
    return text.replace(SECRET, "***")


@pytest.mark.parametrize("before", [*range(80, 101), *range(8080, 8101)])
def test_no_half_secret_is_left(before: int) -> None:
    """Wherever it lies; also when only the beginning of the text was kept."""
    text = "x" * before + SECRET + "x" * 500
    whole = head(text, 100, mask)
    assert "h" not in whole
    assert head(ahead(text, 100), 100, mask) == whole
    assert whole == mask(text)[:100]


def test_many_secrets_leave_none_in_half() -> None:
    """Masked they are short, and what stood far behind comes to the front."""
    text = SECRET * 5000
    assert head(ahead(text, 100), 100, mask) == "…"
    assert head(Beginning(text[: 100 + LOOK_AHEAD - 3], 3), 100, mask) == "…"


def test_a_beginning_stays_one() -> None:
    """Through str(), as a log record makes its message of it."""
    assert str(Beginning("a", 2)).more == 2  # type: ignore[attr-defined]


def test_a_text_that_is_masked_later_ends_at_a_break() -> None:
    """With the last whole word."""
    assert to_break("a hunter2", 9) == "a hunter2"
    assert to_break("a hunter2 b", 9) == "a hunter2 […]"
    assert to_break("a hunter2 b", 8) == "a […]"
    assert to_break("hunter2", 3) == "[…]"


def test_a_text_without_its_beginning_begins_at_a_break() -> None:
    """At a line, or else at a word."""
    assert after_break("ter2 a\nb") == "[…] b"
    assert after_break("ter2 a b") == "[…] a b"
    assert after_break("ter2") == "[…] "
