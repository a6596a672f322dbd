"""Where files lie that have no place in the config."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.calendars.loader import Calendars
from exporter.config.paths import users_cache
from tests.unit.clocks import ManualClock


def test_the_users_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_CACHE_HOME counts when it is an absolute path, as its specification says."""
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert users_cache() == Path("/home/me/.cache/quant-exporter")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert users_cache() == Path("/home/me/.cache/quant-exporter")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert users_cache() == Path("/cache/quant-exporter")


async def test_a_user_without_a_home_loses_only_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A container's user may have none: calendars are built all the same, and nothing is left."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)

    def homeless(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    calendars = Calendars(users_cache(), {}, ManualClock(1_795_755_600.0), also=users_cache())
    await calendars.load(["XNYS"])
    assert calendars.names == ["XNYS"]
    assert "Cannot cache calendars" in caplog.text
    assert list(tmp_path.iterdir()) == []
