"""Alert rules as replay needs them, from Prometheus' rule files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from exporter.alerts.replay.what_if import LimitChange, LimitsAt
from exporter.util.units import parse_duration

_LATCH = re.compile(r"ALERTS\{")


@dataclass(frozen=True)
class Rule:
    """An alert rule; times in seconds."""

    name: str
    expression: str
    pending: float
    hold: float
    severity: str | None
    latches: bool
    learning_severity: str | None = None
    """Its tier in the quiet first week, where the rule itself says its tier."""
    learns_alone: bool = False
    """That week is its own exporter's, not any one's."""


def read_rules(files: Iterable[Path]) -> list[Rule]:
    """All alert rules but the watchdog. Raises :class:`ValueError`, :class:`OSError`."""
    rules = []
    for file in files:
        try:
            groups = yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
            rules += [_rule(r) for group in groups for r in group["rules"] if "alert" in r]
        except (yaml.YAMLError, KeyError, TypeError) as error:
            raise ValueError(f"{file} is not a rule file: {error}") from error
    return [rule for rule in rules if rule.name != "QuantWatchdog"]


def _rule(rule: Mapping[str, Any]) -> Rule:
    # A severity that is a template says the tier of the quiet first week, then the one after it.
    severity = rule.get("labels", {}).get("severity", "")
    tiers = re.sub(r"\{\{.*?\}\}", " ", severity, flags=re.DOTALL).split()
    return Rule(
        rule["alert"],
        _LATCH.sub('ALERTS{replay="removes this",', rule["expr"]),
        parse_duration(rule.get("for", "0s")),
        parse_duration(rule.get("keep_firing_for", "0s")),
        tiers[-1] if tiers else None,
        "ALERTS{" in rule["expr"],
        tiers[0] if len(tiers) > 1 else None,
        "instance=%q" in severity,
    )


def with_limits(rules: Iterable[Rule], changes: Sequence[LimitChange | LimitsAt]) -> list[Rule]:
    """The rules as they would be with other limits."""
    changed = []
    for rule in rules:
        expression = rule.expression
        for change in changes:
            expression = change.apply(expression)
        changed.append(replace(rule, expression=expression))
    return changed
