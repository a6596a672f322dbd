"""``--set feeds.us_minute.max_overdue=90m``: other limits, put into the rules' expressions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from exporter.metrics import SEVERITIES
from exporter.util.units import parse_amount, parse_duration, parse_ratio


def _count(text: str) -> float:
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"invalid number {text!r}: write 1 or more")
    return float(text)


_LIMITS: dict[tuple[str, str], tuple[str, Callable[[str], float], bool]] = {
    ("strategies", "max_drawdown"): ("quant_strategy_drawdown_limit_ratio", parse_ratio, True),
    ("strategies", "max_age"): ("quant_strategy_age_limit_seconds", parse_duration, False),
    ("limits", "max"): ("quant_limit_max", parse_amount, True),
    ("limits", "min"): ("quant_limit_min", parse_amount, True),
    ("feeds", "max_overdue"): ("quant_feed_overdue_limit_seconds", parse_duration, True),
    ("feeds", "max_spread"): ("quant_feed_spread_limit_ratio", parse_ratio, True),
    ("tasks", "alert_after"): ("quant_task_failures_limit", _count, False),
    ("tasks", "max_restarts"): ("quant_service_restarts_limit", _count, False),
    ("tasks", "min_items"): ("quant_task_items_limit", _count, True),
    ("tasks", "max_duration"): ("quant_task_duration_limit_seconds", parse_duration, True),
}
METRICS = tuple(metric for metric, _, _ in _LIMITS.values())
_LABEL = {"strategies": "strategy", "feeds": "feed", "tasks": "task", "limits": "limit"}


@dataclass(frozen=True)
class LimitChange:
    """One limit with another value."""

    metric: str
    label: str
    name: str
    value: float
    severity: str | None

    def apply(self, expression: str) -> str:
        """The expression with the metric replaced by one that has the new limit."""
        metric, one = self.metric, f'{self.label}="{self.name}"'
        if self.severity is None:
            # Every tier that the history has a limit for.
            new = f"{metric}{{{one}}} * 0 + {self.value!r}"
        else:
            # The tier may have had no limit yet.
            known = f"max by (job, instance, {self.label}) (quant_{self.label}_info{{{one}}})"
            if self.label == "limit":  # series without their own name differ by strategy
                known = f"max by (job, instance, limit, strategy) (quant_limit_value{{{one}}})"
            level = f"{known} * 0 + {self.value!r}"
            new = f'label_replace({level}, "severity", "{self.severity}", "", "")'
            one += f',severity="{self.severity}"'
        whole = f"({metric} unless {metric}{{{one}}} or {new})"
        return re.sub(rf"\b{metric}\b(?!\s*{{)", lambda _: whole, expression)


@dataclass(frozen=True)
class LimitsAt:
    """Every limit as it is at `at` (Unix seconds), at all times."""

    at: float

    def apply(self, expression: str) -> str:
        """The expression with every limit taken from that moment."""
        for metric in METRICS:
            expression = re.sub(
                rf"\b{metric}\b({{[^}}]*}})?",
                lambda found: f"last_over_time({found[0]}[1d] @ {self.at:.3f})",
                expression,
            )
        return expression


def parse(text: str) -> LimitChange:
    """``section.name.limit[.tier]=value``, as it is in the config.

    Raises :class:`ValueError` with what would be right.
    """
    place, equals, value = text.partition("=")
    parts = place.strip().split(".")
    known = ", ".join(f"{section}.NAME.{limit}" for section, limit in _LIMITS)
    if not equals or len(parts) not in (3, 4) or (parts[0], parts[2]) not in _LIMITS:
        raise ValueError(f"no limit is set by {text!r}: write one of {known}, = and a value")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", parts[1]):
        raise ValueError(f"invalid name {parts[1]!r}")
    metric, read, tiers = _LIMITS[parts[0], parts[2]]
    severity = parts[3] if len(parts) == 4 else None
    if severity is not None and (not tiers or severity not in SEVERITIES):
        raise ValueError(
            f"{place}: invalid tier {severity!r}: "
            + (f"write {', '.join(SEVERITIES)}" if tiers else "this limit has no tiers")
        )
    return LimitChange(metric, _LABEL[parts[0]], parts[1], read(value.strip()), severity)
