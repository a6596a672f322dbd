"""The section on the ledger: how long fills and equity are kept."""

from __future__ import annotations

from pydantic import Field

from exporter.config.types import Model
from exporter.util.units import Duration

_DAY = 86400.0


class LedgerSettings(Model):
    """What is older, or more, is deleted, the oldest first."""

    keep_fills: Duration = 3650 * _DAY
    keep_equity: Duration = 400 * _DAY
    max_rows: int = Field(1_000_000, ge=1000, le=50_000_000)
    """Of fills, and of points of equity."""
