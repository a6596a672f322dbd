"""The calendars that the config offers, from the library as it is locked."""

from __future__ import annotations

from pathlib import Path

import exchange_calendars
import pytest

from exporter.calendars.loader import Calendars
from exporter.util.clock import SystemClock

pytestmark = pytest.mark.integration


async def test_every_calendar_that_a_config_may_name_can_be_built(tmp_path: Path) -> None:
    """Versions of pandas broke some of them, and nobody noticed until a user named one."""
    names = exchange_calendars.get_calendar_names(include_aliases=False)
    clock = SystemClock()
    calendars = Calendars(tmp_path, {}, clock)
    await calendars.load(names)
    for name in names:
        assert calendars.get(name).next_open(clock.now()) is not None, name
