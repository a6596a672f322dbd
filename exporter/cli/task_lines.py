"""Lines of exporter.yml for what is imported or found."""

from __future__ import annotations

import json

from exporter.util.units import format_duration

_GRACE = 300.0
"""What a task has by default."""


def external_task(schedule: str, late: float = 0.0) -> str:
    """An external task that may start `late` seconds after its time."""
    grace = f", grace: {format_duration(_GRACE + late)}" if late else ""
    return f"{{external: true, schedule: {json.dumps(schedule, ensure_ascii=False)}{grace}}}"
