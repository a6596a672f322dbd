"""The rules hold to the contract: metrics, tests, runbook, annotations, severities."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.metrics import SEVERITIES, TABLE

ROOT = Path(__file__).parents[3]
RULES = [
    rule
    for folder in ("rules", "packs")
    for file in sorted((ROOT / "prometheus" / folder).glob("*.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]
TESTS = [
    test["alert_rule_test"]
    for file in sorted((ROOT / "prometheus/tests").glob("*.yml"))
    for test in yaml.safe_load(file.read_text())["tests"]
]
NAMES = {spec.name for spec in TABLE}
each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])


def words_in_template(severity: str) -> set[str]:
    """What a severity that is a template can come out as."""
    return set(re.sub(r"\{\{.*?\}\}", " ", severity, flags=re.DOTALL).split())


def sentences(note: str) -> list[str]:
    """What a fixed sentence, or one that chooses between two, can come out as."""
    found = [part.strip() for part in re.split(r"\{\{.*?\}\}", note, flags=re.DOTALL)]
    return [part for part in found if part]


def test_there_are_rules() -> None:
    """A glob that matches nothing must not look like success."""
    assert {rule["alert"] for rule in RULES} >= {
        "QuantDataOverdue", "QuantTaskFailing", "QuantDrawdown", "QuantSpreadAnomaly",
        "QuantTaskSucceeded", "QuantExporterDown", "QuantNotificationsFailing",
        "QuantRuleFailing", "QuantConfigReloadFailed", "QuantStateUnhealthy",
        "QuantCalendarEnding", "QuantAlertBudgetExceeded", "QuantWatchdog",
        "QuantLogFetchesFailing",
    }  # fmt: skip


@each_rule
def test_a_rule_names_only_metrics_that_exist(rule: dict[str, Any]) -> None:
    """Expressions and the queries in annotations alike."""
    text = rule["expr"] + " ".join(rule["annotations"].values()) + str(rule.get("labels"))
    text = re.sub(r"\(quant_exporter\|prometheus\|alertmanager\)", "quant_exporter", text)
    used = set(re.findall(r"\bquant_[a-z_]+", text))
    assert used <= NAMES


@each_rule
def test_a_rule_is_complete(rule: dict[str, Any]) -> None:
    """`for`, a fixed summary, a description with values, and the links."""
    assert "for" in rule
    notes = rule["annotations"]
    assert set(notes) == {
        "summary", "resolved", "description", "exporter_url", "dashboard_url", "runbook_url"
    }  # fmt: skip
    for name in ("summary", "resolved"):
        for sentence in sentences(notes[name]):
            # "CRITICAL name_of_a_strategy: …" has to fit on a phone's lock screen.
            assert len(sentence) <= 50
            assert " or " not in sentence  # a title says one thing
    assert notes["runbook_url"].endswith(f"#{rule['alert'].lower()}")


@each_rule
def test_a_severity_is_one_of_three(rule: dict[str, Any]) -> None:
    """Written in the rule, it is spelt right; else it comes from a metric that has the label."""
    severity = rule.get("labels", {}).get("severity")
    if severity is not None:
        assert words_in_template(severity) <= set(SEVERITIES)
        return
    carriers = {spec.name for spec in TABLE if "severity" in spec.labels}
    assert any(name in rule["expr"] for name in carriers)


def test_a_mistyped_severity_is_seen() -> None:
    """The check above would catch it, in a plain word and in a template."""
    assert not words_in_template("critcal") <= set(SEVERITIES)
    assert words_in_template("{{ with query `x` }}warnig{{ else }}critical{{ end }}") == {
        "warnig", "critical"
    }  # fmt: skip


@each_rule
def test_a_rule_is_tested_before_while_and_after(rule: dict[str, Any]) -> None:
    """promtool tests: silent, firing with labels and annotations, silent again."""
    stories = [[c for c in cases if c["alertname"] == rule["alert"]] for cases in TESTS]
    for alert in (a for story in stories for case in story for a in case.get("exp_alerts", ())):
        assert alert["exp_labels"]["severity"] in SEVERITIES
        assert alert["exp_annotations"]["description"]
    shapes = ["".join("F" if case.get("exp_alerts") else "-" for case in s) for s in stories]
    never_ends = rule["alert"] == "QuantWatchdog"
    assert any(re.search("F" if never_ends else "-F+-", shape) for shape in shapes), shapes


@each_rule
def test_a_rule_has_a_heading_in_the_runbook(rule: dict[str, Any]) -> None:
    """Where its runbook_url leads."""
    assert f"\n## {rule['alert']}\n" in (ROOT / "docs/runbook.md").read_text()


def test_the_runbook_knows_no_other_alert() -> None:
    """A heading that is left over misleads."""
    headings = re.findall(r"^## (Quant\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    by_systemd = "QuantExporterGaveUp"  # deploy/vps/gave_up.py, without Prometheus
    assert sorted(headings) == sorted([*(rule["alert"] for rule in RULES), by_systemd])
