"""Lines of exporter.yml for what is imported or found."""

from __future__ import annotations

import json
import math

_GRACE = 300.0
"""What a task has by default."""


def external_task(schedule: str, late: float = 0.0) -> str:
    """An external task that may start `late` seconds after its time."""
    hours, minutes = divmod(math.ceil((_GRACE + late) / 60), 60)
    allowed = " ".join(f"{n}{unit}" for n, unit in ((hours, "h"), (minutes, "m")) if n)
    grace = f", grace: {allowed}" if late else ""
    return f"{{external: true, schedule: {json.dumps(schedule, ensure_ascii=False)}{grace}}}"
