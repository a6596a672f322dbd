"""Replay goes through the states that Prometheus goes through."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from exporter.alerts.api_clients import ServerError
from exporter.alerts.replay import what_if
from exporter.alerts.replay.engine import AWAKE, LEARNING, Fired, replay, run_states
from exporter.alerts.replay.rules import Rule, read_rules, with_limits
from exporter.alerts.replay.summary import longest_gap, nights

RULE = Rule("A", "x", pending=30.0, hold=60.0, severity=None, latches=True)
ROOT = Path(__file__).parents[3]


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
    found = run_states(RULE, set(true), set(gone), [True] * 20, 15.0)
    assert [(one.start, one.stop) for one in found] == fires


@pytest.mark.parametrize(
    ("pending", "fires"),
    [(30.0, [(2, 5), (12, 20)]), (600.0, [])],
    ids=["begins anew", "too long a `for`"],
)
def test_where_prometheus_was_away_no_rule_was_evaluated(
    pending: float, fires: list[tuple[int, int]]
) -> None:
    """True all the time; Prometheus is down from step 5 to 9."""
    awake = [not 5 <= now < 10 for now in range(20)]
    found = run_states(replace(RULE, pending=pending), set(range(20)), set(), awake, 15.0)
    assert [(one.start, one.stop) for one in found] == fires


def test_a_long_for_outlives_a_restart_of_prometheus() -> None:
    """Prometheus restores it, so what had fired fires at once."""
    awake = [not 50 <= now < 60 for now in range(100)]
    found = run_states(replace(RULE, pending=600.0), set(range(100)), set(), awake, 15.0)
    assert [(one.start, one.stop) for one in found] == [(40, 50), (60, 100)]


class Past:
    """Prometheus' answers: what each query has, as steps from `start`."""

    url = "http://prometheus"

    def __init__(self, start: float, answers: dict[str, list[tuple[dict[str, str], range]]]):
        self.start, self.answers = start, answers

    async def query_range(
        self, query: str, start: float, end: float, step: float
    ) -> list[dict[str, object]]:
        found = []
        for labels, steps in self.answers.get(query, ()):
            moments = [self.start + one * step for one in steps]
            values = [[at, "1"] for at in moments if start - 0.1 <= at <= end + 0.1]
            if values:
                found.append({"metric": labels, "values": values})
        return found


ANY: dict[str, str] = {}
EXPORTER = {"job": "quant-exporter", "instance": "a:1"}


async def test_before_the_first_scrape_nothing_fires() -> None:
    """`absent(up)` is true before there was a Prometheus; no rule looked at it."""
    rule = Rule("A", "absent(up)", 30.0, 0.0, "critical", latches=False)
    past: Any = Past(0, {"absent(up)": [(ANY, range(40))], AWAKE: [(ANY, range(40, 100))]})
    assert await replay(past, [rule], 0.0, 1485.0, 15.0) == []


async def test_what_fires_at_the_beginning_began_before() -> None:
    """The replay looks back as far as `for` and `keep_firing_for` reach."""
    rule = Rule("A", "x", 30.0, 60.0, "critical", latches=False)
    past: Any = Past(-6000, {"x": [(ANY, range(410))], AWAKE: [(ANY, range(1000))]})
    (one,) = await replay(past, [rule], 0.0, 1500.0, 15.0)
    assert (one.start, one.end) == (0.0, 210.0)


async def test_in_the_quiet_first_week_it_is_an_alert_of_a_lower_tier() -> None:
    """Of that exporter alone: the tier of a rule that writes it stands in a template."""
    rules = {rule.name: rule for rule in read_rules((ROOT / "prometheus/rules").glob("*.yml"))}
    rule = replace(rules["QuantExporterDown"], expression="x")
    other = {**EXPORTER, "instance": "b:1"}
    answers = {
        "x": [(EXPORTER, range(100)), (other, range(100))],
        AWAKE: [(ANY, range(100))],
        LEARNING: [(EXPORTER, range(50))],
    }
    past: Any = Past(-300, answers)
    fired = await replay(past, [rule], 0.0, 1000.0, 15.0)
    tiers = sorted((one.labels["instance"], one.severity) for one in fired)
    assert tiers == [("a:1", "critical"), ("a:1", "warning"), ("b:1", "critical")]


async def test_no_history_is_said() -> None:
    """Silence would look like a quiet month."""
    past: Any = Past(0, {})
    with pytest.raises(ServerError, match="nothing was scraped"):
        await replay(past, [RULE], 0.0, 100.0, 15.0)


def test_todays_limits_are_taken_at_all_times() -> None:
    """Also inside of what a change put there, and nowhere else."""
    rules = read_rules([ROOT / "prometheus/rules/quant.yml"])
    change = what_if.parse("strategies.m.max_drawdown=4%")
    changed = with_limits(rules, [change, what_if.LimitsAt(100.0)])
    (rule,) = [r for r in changed if r.name == "QuantDrawdown"]
    assert "last_over_time(quant_strategy_drawdown_limit_ratio[1d] @ 100.000)" in rule.expression
    assert 'quant_strategy_drawdown_limit_ratio{strategy="m"}[1d] @ 100.000' in rule.expression
    assert "last_over_time(quant_strategy_drawdown_ratio" not in rule.expression


def test_the_shipped_rules_are_read() -> None:
    """The latch on ALERTS is taken out, templates of severity give the final tier."""
    rules = {rule.name: rule for rule in read_rules((ROOT / "prometheus/rules").glob("*.yml"))}
    assert "QuantWatchdog" not in rules
    assert 'ALERTS{replay="removes this",' in rules["QuantDrawdown"].expression
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
    (rule,) = [r for r in with_limits(rules, [what_if.parse(text)]) if r.name == "QuantDrawdown"]
    assert part in rule.expression


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("max_drawdown=4%", "no limit is set by"),
        ("strategies.m.max_drawdown=4x", "invalid share|no share"),
        ("strategies.m.max_drawdown.loud=4%", "invalid tier"),
        ('strategies.m"}.max_age=1d', "invalid name"),
        ("tasks.t.alert_after=0", "1 or more"),
    ],
)
def test_a_limit_that_is_none_is_refused(text: str, why: str) -> None:
    """With what would be right."""
    with pytest.raises(ValueError, match=why):
        what_if.parse(text)


def test_nights_and_gaps() -> None:
    """23:30 and 03:00 are one night; a warning at night is no page; what still fires in the morning
    was worth waking up for."""
    zone = ZoneInfo("UTC")
    at = [Fired("A", {"severity": severity}, begins * 3600.0, ends * 3600.0)
          for severity, begins, ends in (
              ("critical", 23.5, 24), ("critical", 27, 28), ("critical", 36, 90),
              ("warning", 50, 51), ("critical", 72, 80))]  # fmt: skip
    assert nights(at, zone) == (2, 1)
    assert longest_gap(at, 0.0, 75 * 3600.0) == 23.5 * 3600


def test_a_limit_on_a_metric_of_ones_own_can_be_tried() -> None:
    """With a tier it is exposed for each strategy that has a value."""
    rules = [r for r in read_rules([ROOT / "prometheus/rules/quant.yml"]) if r.name == "QuantLimit"]
    (rule,) = with_limits(rules, [what_if.parse("limits.daily_loss.max=3%")])
    assert 'quant_limit_max{limit="daily_loss"} * 0 + 0.03' in rule.expression
    (rule,) = with_limits(rules, [what_if.parse("limits.positions.min.critical=-2")])
    assert 'by (job, instance, limit, strategy) (quant_limit_value{limit="positions"})' in (
        rule.expression
    )
    assert "* 0 + -2.0" in rule.expression
