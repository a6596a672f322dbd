"""What containers are given, by the programs that read it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pytest
import yaml

from exporter.app import App
from exporter.config import load
from tests.compose import ROOT
from tests.scripts import load_script
from tests.unit.clocks import ManualClock

pytestmark = pytest.mark.integration
needs_checkers = pytest.mark.skipif(
    not (shutil.which("promtool") and shutil.which("amtool")),
    reason="promtool or amtool is missing; tools/install-test-packages",
)
SETTINGS = load_script("deploy/containers/settings.py")
SECRETS = ("slack_url", "pagerduty_key", "smtp_password", "exporter_token")


def made(folder: Path, **secrets: str) -> tuple[list[str], dict[str, Any]]:
    """What the service `settings` says and the Alertmanager file that it writes."""
    (folder / "secrets").mkdir()
    for name in SECRETS:
        (folder / "secrets" / name).write_text(secrets.get(name, ""))
    said = SETTINGS.make(ROOT / "prometheus", ROOT / "alerting", folder / "secrets", folder)
    return said, yaml.safe_load((folder / "alertmanager/alertmanager.yml").read_text())


def channels(config: dict[str, Any]) -> dict[str, list[str]]:
    """Receiver to what it still sends by."""
    return {
        receiver["name"]: sorted(key for key in receiver if key.endswith("_configs"))
        for receiver in config["receivers"]
    }


def checked(folder: Path) -> None:
    for command in (
        ["promtool", "check", "config", "prometheus/prometheus.yml"],
        ["amtool", "check-config", "alertmanager/alertmanager.yml"],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_checkers
def test_without_any_secret_alerts_go_to_the_journal_alone(tmp_path: Path) -> None:
    """Both programs take their files; nothing is left that would fail for want of a secret."""
    said, config = made(tmp_path, exporter_token="t")
    assert {kind for kinds in channels(config).values() for kind in kinds} == {"webhook_configs"}
    assert channels(config)["deadman"] == []
    assert any(
        sentence == "slack: slack is left out, secrets/slack_url is empty" for sentence in said
    )
    checked(tmp_path)


@needs_checkers
def test_with_all_secrets_nothing_but_the_example_is_left_out(tmp_path: Path) -> None:
    """The address of the dead-man service is still an example."""
    said, config = made(tmp_path, **dict.fromkeys(SECRETS, "https://127.0.0.1/x"))
    assert said == ["deadman: webhook is left out, its address is only an example"]
    assert channels(config)["pagerduty"] == ["pagerduty_configs", "webhook_configs"]
    assert channels(config)["email"] == ["email_configs", "webhook_configs"]
    checked(tmp_path)


def test_names_of_machines_and_places_of_secrets_change_and_nothing_else(tmp_path: Path) -> None:
    """Routes, inhibition and rules stay what the shipped files say."""
    _, config = made(tmp_path, **dict.fromkeys(SECRETS, "x"))
    shipped = yaml.safe_load((ROOT / "alerting/alertmanager.yml").read_text())
    for part in ("route", "inhibit_rules", "time_intervals", "templates"):
        assert config[part] == shipped[part]
    text = (tmp_path / "alertmanager/alertmanager.yml").read_text()
    assert "localhost" not in text
    assert "/etc/alertmanager/secrets" not in text
    scraped = yaml.safe_load((tmp_path / "prometheus/prometheus.yml").read_text())
    targets = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in scraped["scrape_configs"]
    }
    assert targets["quant-exporter"] == ["exporter:10077"]
    assert targets["alertmanager"] == ["alertmanager:9093"]
    for rules in (ROOT / "prometheus/rules").glob("*.yml"):
        assert (tmp_path / "prometheus/rules" / rules.name).read_text() == rules.read_text()


def test_made_anew_each_time(tmp_path: Path) -> None:
    """A rule file that was taken out is gone."""
    made(tmp_path)
    stale = tmp_path / "prometheus/rules/stale.yml"
    stale.write_text("groups: []")
    SETTINGS.make(ROOT / "prometheus", ROOT / "alerting", tmp_path / "secrets", tmp_path)
    assert not stale.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up a right that only root has")
def test_a_volume_that_another_image_filled_is_reported_with_its_cure(tmp_path: Path) -> None:
    """As earlier versions left it behind: a file of the image, owned by the image's user."""
    filled = tmp_path / "made/prometheus"
    filled.mkdir(parents=True)
    (filled / "prometheus.yml").touch()
    for path in (filled, filled / "prometheus.yml"):
        os.chown(path, 65534, 65534)
    (tmp_path / "secrets").mkdir()
    done = subprocess.run(
        ["setpriv", "--inh-caps=-dac_override", "--bounding-set=-dac_override",
         sys.executable, "deploy/containers/settings.py", "prometheus", "alerting",
         tmp_path / "secrets", tmp_path / "made"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        f"cannot write {filled / 'prometheus.yml'}: another image filled this volume first. Run: "
        "docker compose down; docker volume rm quant_prometheus-settings "
        "quant_alertmanager-settings; make up\n"
    )


@needs_checkers
def test_the_agent_s_file_for_remote_write_is_valid(tmp_path: Path) -> None:
    """As Prometheus itself reads it; what it keeps: tests/unit/deploy/test_settings.py."""
    text = (ROOT / "prometheus/remote-write.yml").read_text()
    (tmp_path / "password").write_text("x")
    agent = tmp_path / "remote-write.yml"
    agent.write_text(text.replace("/run/secrets/remote_write_password", str(tmp_path / "password")))
    done = subprocess.run(
        ["promtool", "check", "config", "--agent", str(agent)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_remote_write_keeps_within_ten_thousand_series(tmp_path: Path) -> None:
    """What it sends of an exporter with 200 tasks and 500 symbols; a plan may hold no more."""
    names = [f"{a}{b}.US" for a in ascii_uppercase for b in ascii_uppercase][:500]
    tasks = {f"task_{n}": {"command": ["true"], "schedule": "every 5m"} for n in range(200)}
    limits = {"max_overdue": {"warning": "10m", "critical": "2h"}, "max_spread": {"warning": "1%"}}
    feed = {"source": "market", "symbols": names, "interval": "1m", "exchange": "XNYS", **limits}
    (tmp_path / "exporter.yml").write_text(json.dumps({
        "listen": "127.0.0.1:0", "prometheus_url": "http://127.0.0.1:9",
        "sources": {"market": {"type": "simulated"}}, "feeds": {"us": feed}, "tasks": tasks,
        "strategies": {f"s_{n}": {"max_drawdown": {"warning": "5%"}} for n in range(20)},
    }))  # fmt: skip
    rules = yaml.safe_load((ROOT / "prometheus/remote-write.yml").read_text())
    drop, keep = (re.compile(r["regex"]) for r in rules["remote_write"][0]["write_relabel_configs"])

    async def sent() -> int:
        app = App(tmp_path / "exporter.yml", load(tmp_path / "exporter.yml"), ManualClock())
        async with contextlib.AsyncExitStack() as stack:
            await app.start(stack)
            samples = [s.name for family in app.registry.collect() for s in family.samples]
        assert "quant_task_duration_seconds_bucket" in samples
        kept = [n for n in samples if keep.fullmatch(f"quant-exporter;{n}")]
        return sum(not drop.fullmatch(n) for n in kept)

    # Every symbol's spread, the reasons of fetches and a hundred alerts come on top.
    assert 6_000 < asyncio.run(sent()) + 500 + 100 + 100 < 10_000
