"""What runs, and what a task of one's own needs: the context, and the words for "no data".

This module stays light: it is loaded before every run of a plain function.
"""

from __future__ import annotations

from exporter.tasks.context import BlockingContext, Context, NoData, Permanent, StaleData

__all__ = ["BlockingContext", "Context", "NoData", "Permanent", "StaleData"]
