"""What your own tasks may use, and the built-in tasks.

    from exporter.tasks import BlockingContext, NoData

docs/your-own-tasks.md shows how. This module stays light: it is loaded before every run of a plain
function.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from exporter.sources.base import Bar, SourceError, Ticker
from exporter.tasks.blocking_context import BlockingContext
from exporter.tasks.context import Context
from exporter.tasks.errors import NoData, Permanent, StaleData

if TYPE_CHECKING:
    from exporter.tasks.builtin.end_of_day_report import end_of_day_report
    from exporter.tasks.builtin.health_check import health_check
    from exporter.tasks.builtin.key_check import key_check
    from exporter.tasks.builtin.log_review import log_review
    from exporter.tasks.builtin.pre_market_scan import pre_market_scan
    from exporter.tasks.builtin.weekend_backtest import weekend_backtest
    from exporter.tasks.builtin.weekly_review import weekly_review

__all__ = [
    "Bar",
    "BlockingContext",
    "Context",
    "NoData",
    "Permanent",
    "SourceError",
    "StaleData",
    "Ticker",
    "end_of_day_report",
    "health_check",
    "key_check",
    "log_review",
    "pre_market_scan",
    "weekend_backtest",
    "weekly_review",
]


_BUILT_IN = {
    "end_of_day_report": "exporter.tasks.builtin.end_of_day_report",
    "health_check": "exporter.tasks.builtin.health_check",
    "key_check": "exporter.tasks.builtin.key_check",
    "log_review": "exporter.tasks.builtin.log_review",
    "pre_market_scan": "exporter.tasks.builtin.pre_market_scan",
    "weekend_backtest": "exporter.tasks.builtin.weekend_backtest",
    "weekly_review": "exporter.tasks.builtin.weekly_review",
}


def __getattr__(name: str) -> Any:
    """The built-in tasks, each loaded when it is first asked for."""
    if name in _BUILT_IN:
        return getattr(importlib.import_module(_BUILT_IN[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
