"""Every alert of the rule files reaches whom it should, by Alertmanager's own amtool."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.alerting import RECIPES, ROOT, alertmanager_config
from tests.unit.prometheus.test_rules import RULES

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not shutil.which("amtool"), reason="amtool is not installed"),
]
CONFIG = ROOT / "alerting/alertmanager.yml"
BY_SEVERITY = {
    "critical": ["email", "pagerduty", "slack"],
    "warning": ["slack"],
    "info": ["journal"],
}
TIERS = {"critical": ["critical", "warning"], "warning": ["warning", "info"], "info": ["info"]}


def amtool(*arguments: object) -> str:
    done = subprocess.run(
        ["amtool", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def routes(**labels: str) -> list[str]:
    pairs = [f"{name}={value}" for name, value in labels.items()]
    return amtool("config", "routes", "test", f"--config.file={CONFIG}", *pairs).strip().split(",")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_severity_decides(rule: dict[str, object]) -> None:
    """On each tier the alert can have, also in the quiet first week."""
    written = str(rule.get("labels", {}).get("severity", ""))  # type: ignore[attr-defined]
    tiers = re.findall(r"critical|warning|info", re.sub(r"\{\{.*?\}\}", " ", written, flags=re.S))
    for tier in tiers or BY_SEVERITY:
        wanted = ["deadman"] if rule["alert"] == "QuantWatchdog" else BY_SEVERITY[tier]
        assert routes(alertname=str(rule["alert"]), severity=tier) == wanted


@pytest.mark.parametrize(
    ("integration", "left"),
    [
        ("slack", ["pagerduty", "email"]),
        ("pagerduty", ["slack", "email"]),
        ("email", ["pagerduty", "slack"]),
        ("webhook", ["email", "pagerduty", "slack"]),
    ],
)
def test_a_broken_channel_is_told_by_the_others(integration: str, left: list[str]) -> None:
    """Not through the one that is broken."""
    labels = {"alertname": "QuantNotificationsFailing", "severity": "critical"}
    assert routes(**labels, integration=integration) == left


def test_what_no_route_knows_is_loud() -> None:
    """A mistyped severity falls to chat, and this test would show it for our own rules."""
    assert routes(alertname="Other", severity="critcal") == ["slack"]


@pytest.mark.parametrize("recipe", [None, *RECIPES], ids=lambda r: r.stem if r else "shipped")
def test_the_config_is_valid(recipe: Path | None, tmp_path: Path) -> None:
    """As shipped and with the receivers of each recipe."""
    file = tmp_path / "alertmanager.yml"
    file.write_text(yaml.safe_dump(alertmanager_config(recipe)))
    assert "1 templates" in amtool("check-config", file)


def test_no_secret_stands_in_the_config() -> None:
    """Files alone; a recipe that cannot do so on 0.25 says it."""
    text = CONFIG.read_text()
    assert not re.search(r"^\s*(api_url|routing_key|smtp_auth_password|credentials):", text, re.M)
