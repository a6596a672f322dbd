"""Which names users' own metrics and labels may have."""

from __future__ import annotations

import re

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_:]{0,99}")
_LABEL = re.compile(r"[a-zA-Z][a-zA-Z0-9_]{0,62}")
_RESERVED = ("quant_", "process_", "python_", "scrape_")
"""Prefixes of the exporter's own metrics, of its process, and of what Prometheus adds itself."""
_TAKEN = frozenset(("up", "ALERTS", "ALERTS_FOR_STATE"))
_RESERVED_LABELS = frozenset(("job", "instance", "alertname", "alertstate", "severity"))
"""Prometheus sets the first two on every series, and rules and routes rest on all of them."""


def problem_of_metric_name(name: object) -> str | None:
    """What is wrong with the name of a metric; None when nothing is."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"invalid metric name {str(name)[:80]!r}: use letters, digits and _, a letter first"
    if name.startswith(_RESERVED) or name in _TAKEN:
        return (
            f"the metric name {name!r} is reserved: names that begin with "
            f"{', '.join(_RESERVED)} belong to the exporter or Prometheus; use another one"
        )
    return None


def problem_of_label_name(name: object) -> str | None:
    """What is wrong with the name of a label; None when nothing is."""
    if not isinstance(name, str) or not _LABEL.fullmatch(name):
        return f"invalid label {str(name)[:80]!r}: use letters, digits and _, a letter first"
    if name in _RESERVED_LABELS:
        return f"the label {name!r} is reserved for Prometheus and its alerts; use another one"
    return None
