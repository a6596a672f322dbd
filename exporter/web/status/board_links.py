"""Where the boards of Grafana are, for links from the pages. The boards link back."""

from __future__ import annotations

import math
from urllib.parse import urlencode

from exporter.config.logs_and_alerts import Alerts
from exporter.util.nan import NAN

AROUND_SECONDS = 3600.0
"""Shown before a run and after it."""


def board_of(
    alerts: Alerts, kind: str, name: str, *, began: float = NAN, ended: float = NAN
) -> str:
    """The board of a task, feed or strategy, around a time (Unix seconds) if one is given; empty
    while nobody has said where Grafana is."""
    if not alerts.dashboards_are_named:
        return ""
    asked = {f"var-{kind}": name}
    if not math.isnan(began):
        asked["from"] = _milliseconds(began - AROUND_SECONDS)
        asked["to"] = "now" if math.isnan(ended) else _milliseconds(ended + AROUND_SECONDS)
    return f"{alerts.dashboards_url.rstrip('/')}/d/quant-{kind}?{urlencode(asked)}"


def _milliseconds(at: float) -> str:
    return str(round(at * 1000))
