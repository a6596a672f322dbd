"""What the start says to whoever watches it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from exporter.app import App
from exporter.config import Config
from tests.unit.clocks import ManualClock


@pytest.mark.parametrize("terminal", [True, False])
def test_a_start_on_a_terminal_says_what_to_do_next(
    terminal: bool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A service's log has nobody to say it to."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    app = App(tmp_path / "exporter.yml", Config(state=tmp_path / "state.db"), ManualClock())
    with caplog.at_level(logging.INFO):
        app._say_ready(("127.0.0.1", 10077))
    ready, *following = [record.message for record in caplog.records]
    assert ready.startswith("ready: page http://127.0.0.1:10077/ ")
    assert len(following) == terminal
    for line in following:
        assert f"change {tmp_path}/exporter.yml" in line
        assert "quant-exporter reload`; Ctrl-C stops it" in line
