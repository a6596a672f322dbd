"""Every alert of the rule files reaches whom it should, by Alertmanager's own amtool."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.alerting import RECIPES, ROOT, alertmanager_text
from tests.generations import Generation, each_generation
from tests.unit.prometheus.test_rules import RULES

pytestmark = [pytest.mark.integration]
CONFIG = ROOT / "alerting/alertmanager.yml"
BY_SEVERITY = {
    "critical": ["email", "pagerduty", "slack"],
    "warning": ["slack"],
    "info": ["journal"],
}
TIERS = {"critical": ["critical", "warning"], "warning": ["warning", "info"], "info": ["info"]}


def amtool(generation: Generation, *arguments: object) -> str:
    done = subprocess.run(
        [generation.program("amtool"), *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def routes(generation: Generation, **labels: str) -> list[str]:
    pairs = [f"{name}={value}" for name, value in labels.items()]
    asked = amtool(generation, "config", "routes", "test", f"--config.file={CONFIG}", *pairs)
    return asked.strip().split(",")


@each_generation
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_severity_decides(generation: Generation, rule: dict[str, object]) -> None:
    """On each tier the alert can have, also in the quiet first week."""
    written = str(rule.get("labels", {}).get("severity", ""))  # type: ignore[attr-defined]
    tiers = re.findall(r"critical|warning|info", re.sub(r"\{\{.*?\}\}", " ", written, flags=re.S))
    for tier in tiers or BY_SEVERITY:
        wanted = ["deadman"] if rule["alert"] == "QuantWatchdog" else BY_SEVERITY[tier]
        assert routes(generation, alertname=str(rule["alert"]), severity=tier) == wanted


@each_generation
@pytest.mark.parametrize("severity", ["Critical", "CRITICAL", "Warning"])
def test_a_severity_in_capitals_reaches_the_same_people(
    generation: Generation, severity: str
) -> None:
    """A rule of one's own writes it so, and its message says CRITICAL."""
    assert routes(generation, alertname="Mine", severity=severity) == BY_SEVERITY[severity.lower()]


@each_generation
@pytest.mark.parametrize(
    ("integration", "left"),
    [
        ("slack", ["pagerduty", "email"]),
        ("pagerduty", ["slack", "email"]),
        ("email", ["pagerduty", "slack"]),
        ("webhook", ["email", "pagerduty", "slack"]),
    ],
)
def test_a_broken_channel_is_reported_through_the_others(
    generation: Generation, integration: str, left: list[str]
) -> None:
    """Not through the one that is broken."""
    labels = {"alertname": "QuantNotificationsFailing", "severity": "critical"}
    assert routes(generation, **labels, integration=integration) == left


@each_generation
def test_what_no_route_knows_is_loud(generation: Generation) -> None:
    """A mistyped severity falls to chat, and this test would show it for our own rules."""
    assert routes(generation, alertname="Other", severity="critcal") == ["slack"]


@each_generation
@pytest.mark.parametrize("recipe", [None, *RECIPES], ids=lambda r: r.stem if r else "shipped")
def test_the_config_is_valid(generation: Generation, recipe: Path | None, tmp_path: Path) -> None:
    """As shipped, and as the file that a user has once a recipe's receivers stand in it."""
    file = tmp_path / "alertmanager.yml"
    file.write_text(alertmanager_text(recipe))
    assert "1 templates" in amtool(generation, "check-config", file)


def test_no_secret_stands_in_the_config() -> None:
    """Files alone; a recipe that cannot do so on 0.25 says it."""
    text = CONFIG.read_text()
    assert not re.search(r"^\s*(api_url|routing_key|smtp_auth_password|credentials):", text, re.M)
