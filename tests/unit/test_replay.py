"""Replay goes through the states that Prometheus goes through."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from exporter.alerts import limits
from exporter.alerts.replay import (
    Fired,
    Rule,
    longest_gap,
    nights,
    read_rules,
    run_states,
    with_limits,
)

RULE = Rule("A", "x", pending=30.0, hold=60.0, severity=None, latches=True)
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("true", "gone", "fires"),
    [
        (range(0), (), []),
        (range(1, 3), (), []),
        (range(1, 4), (), [(3, 8)]),
        ([1, 2, 4, 5], (), []),
        ([1, 2, 3, 4, 6, 7, 8], (), [(3, 13)]),
        (range(1, 5), range(5, 12), [(3, 16)]),
        (range(15, 20), (), [(17, 20)]),
    ],
    ids=["never", "too short", "held", "broken", "one alert over a dip", "exporter gone", "still"],
)
def test_pending_firing_held(true: range, gone: range, fires: list[tuple[int, int]]) -> None:
    """Steps of 15 s: 30 s pending, 60 s held; what fired stays while its exporter is gone."""
    found = run_states(RULE, set(true), set(gone), 20, 15.0)
    assert [(one.start, one.stop) for one in found] == fires


def test_the_shipped_rules_are_read() -> None:
    """The latch on ALERTS is taken out, templates of severity give the final tier."""
    rules = {rule.name: rule for rule in read_rules((ROOT / "prometheus/rules").glob("*.yml"))}
    assert "QuantWatchdog" not in rules
    assert 'ALERTS{replay="takes this out",' in rules["QuantDrawdown"].expression
    assert rules["QuantDrawdown"].latches
    assert rules["QuantExporterDown"].severity == "critical"
    assert (rules["QuantDataOverdue"].pending, rules["QuantDataOverdue"].hold) == (120.0, 300.0)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (
            "strategies.m.max_drawdown=4%",
            'unless quant_strategy_drawdown_limit_ratio{strategy="m"} or',
        ),
        ("strategies.m.max_drawdown.warning=4%", '"severity", "warning"'),
        ("strategies.m.max_age=1d", "86400.0"),
    ],
)
def test_other_limits_go_into_the_expression(text: str, part: str) -> None:
    """The metric is replaced by one that has the new limit, for that one name."""
    rules = read_rules([ROOT / "prometheus/rules/quant.yml"])
    (rule,) = [r for r in with_limits(rules, [limits.parse(text)]) if r.name == "QuantDrawdown"]
    assert part in rule.expression


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("max_drawdown=4%", "sets no limit; write one of"),
        ("strategies.m.max_drawdown=4x", "no share"),
        ("strategies.m.max_drawdown.loud=4%", "the tier is one of"),
        ('strategies.m"}.max_age=1d', "is no name"),
        ("tasks.t.alert_after=0", "1 or more"),
    ],
)
def test_a_limit_that_is_none_is_refused(text: str, why: str) -> None:
    """With what would be right."""
    with pytest.raises(ValueError, match=why):
        limits.parse(text)


def test_nights_and_gaps() -> None:
    """23:30 and 03:00 are one night; a warning at night is no page."""
    zone = ZoneInfo("UTC")
    at = [Fired("A", {"severity": s}, t * 3600.0, 0.0) for t, s in (
        (23.5, "critical"), (27, "critical"), (36, "critical"), (50, "warning"))]  # fmt: skip
    assert nights(at, zone) == 1
    assert longest_gap(at, 0.0, 60 * 3600.0) == 23.5 * 3600
