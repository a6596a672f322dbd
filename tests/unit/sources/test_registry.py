"""Sources of the running config: opened, asked for their keys' ends, closed."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from exporter.calendars.loader import Calendars
from exporter.config import Config, TickDBSettings
from exporter.config.paths import users_cache
from exporter.metrics import Metrics
from exporter.sources.registry import Supply
from tests.unit.clocks import ManualClock

NOVEMBER_24 = 1795532400.0  # 2026-11-24 15:00 UTC


async def test_each_source_is_asked_once_until_when_its_key_is_good(tmp_path: Path) -> None:
    """Not at once: bars come first. One that a reload brings is asked in its turn."""
    config = Config(state=tmp_path / "s.db", sources={"a": TickDBSettings(type="simulated")})
    clock = ManualClock()
    supply = Supply(config, Metrics(CollectorRegistry()), clock)
    await supply.reconcile(config)
    try:
        await supply.fetch_key_expiry()
        assert math.isnan(supply.sources["a"].key_expiry)
        await supply.fetch_key_expiry()
        assert supply.sources["a"].key_expiry == pytest.approx(clock.now() + 90 * 86400)
        more = config.model_copy(
            update={"sources": {**config.sources, "b": TickDBSettings(type="simulated", seed=2)}}
        )
        await supply.reconcile(more)
        supply.sources["a"].key_expiry = 5.0
        await supply.fetch_key_expiry()
        await supply.fetch_key_expiry()
        assert supply.sources["a"].key_expiry == 5.0
        assert supply.sources["b"].key_expiry == pytest.approx(clock.now() + 90 * 86400)
    finally:
        await supply.close()


async def test_a_source_that_is_gone_or_does_not_tell_is_no_trouble(tmp_path: Path) -> None:
    """The next key check says so; nothing else waits for it."""
    settings = TickDBSettings(type="simulated", url="http://127.0.0.1:9/v1", retries=0)
    config = Config(state=tmp_path / "s.db", sources={"a": settings})
    supply = Supply(config, Metrics(CollectorRegistry()), ManualClock())
    await supply.reconcile(config)
    await supply.fetch_key_expiry()
    await supply.fetch_key_expiry()
    assert math.isnan(supply.sources["a"].key_expiry)
    await supply.reconcile(
        config.model_copy(update={"sources": {"b": TickDBSettings(type="simulated")}})
    )
    await supply.fetch_key_expiry()
    await supply.reconcile(config)
    await supply.fetch_key_expiry()
    assert set(supply.sources) == {"a"}
    await supply.close()


async def test_a_simulator_finds_the_calendars_that_check_has_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the exporter itself does: no source builds one of its own."""
    clock = ManualClock(NOVEMBER_24)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    await Calendars(users_cache(), {}, clock).load(["XNYS"])
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    config = Config(state=tmp_path / "s.db", sources={"a": TickDBSettings(type="simulated")})
    supply = Supply(config, Metrics(CollectorRegistry()), clock)
    await supply.reconcile(config)
    try:
        (bar,) = await supply.sources["a"].recent("SPY.US", "1d", 1)
        assert bar.close > 0
    finally:
        await supply.close()
