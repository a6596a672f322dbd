"""The guide's pictures of the boards: one of each, small, with words for who cannot see it."""

from __future__ import annotations

import re

import pytest

from tests.boards import BOARDS, ROOT
from tests.browser.board_pictures import FOLDER, Shot, address, shots

GUIDE = (ROOT / "docs/guide/README.md").read_text()
MOST_BYTES = 200_000


def test_each_board_is_shown_on_a_desk_and_on_a_phone() -> None:
    """A new board gets pictures, too."""
    shown = {(shot.board, shot.size) for shot in shots()}
    names = {name.removeprefix("quant-") for name in BOARDS}
    assert shown == {(name, size) for name in names for size in ("desk", "phone")}


@pytest.mark.parametrize("shot", shots(), ids=lambda shot: str(shot.file))
def test_picture_is_there_small_and_has_words(shot: Shot) -> None:
    """The guide names it with an alternative text."""
    assert 5_000 < (FOLDER / shot.file).stat().st_size < MOST_BYTES
    (words,) = re.findall(rf"!\[([^\]]+)\]\(pictures/boards/{re.escape(shot.file)}\)", GUIDE)
    assert len(words.split()) > 2


def test_no_picture_is_left_over() -> None:
    """What nobody takes any more goes."""
    assert {path.name for path in FOLDER.iterdir()} == {shot.file for shot in shots()}


def test_address_has_time_theme_and_choice() -> None:
    """Grafana shows the board alone, of the chosen task."""
    made = address("http://g:3000/", Shot("task", "desk", "dark"), "now-8h", {"task": "a b"})
    assert made == (
        "http://g:3000/d/quant-task?from=now-8h&to=now&theme=dark&kiosk=1&orgId=1&var-task=a+b"
    )
