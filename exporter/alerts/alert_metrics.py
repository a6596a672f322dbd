"""What the rules read of ``alerts:`` and ``announce:`` in the config."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from exporter.config import Config
from exporter.metrics import Column, Metrics, Sample
from exporter.util.clock import Clock
from exporter.util.local_time import midnight
from exporter.util.nan import NAN


def learning_until(config: Config) -> float:
    """End of the quiet first week: that day's first moment in the config's zone; NaN for none."""
    day = config.alerts.learning_until
    if day is None:
        return NAN
    return midnight(day, ZoneInfo(config.timezone))


def expose(metrics: Metrics, config: Callable[[], Config], clock: Clock) -> None:
    """Add the readers, and lower severities while learning. `config` gives the newest one."""

    kept: tuple[Config, Column] | None = None

    def read() -> Iterator[Sample | Column]:
        nonlocal kept
        now = config()
        links = (now.public_url, now.alerts.dashboards_url, f"{now.public_url}/runbook")
        yield "quant_alert_links_info", links, 1.0
        local = datetime.fromtimestamp(clock.now(), ZoneInfo(now.timezone))
        offset = local.utcoffset() or timedelta()
        yield "quant_timezone_offset_seconds", (f"{local:%Z}",), offset.total_seconds()
        yield "quant_alert_learning_until_timestamp_seconds", (), learning_until(now)
        if kept is None or kept[0] is not now:
            announced = [float(task.announce) for task in now.tasks.values()]
            kept = now, Column("quant_task_announced", [(name,) for name in now.tasks], announced)
        yield kept[1]

    metrics.add_reader(read)
    metrics.lower_severities(lambda: clock.now() < learning_until(config()))
