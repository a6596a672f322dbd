"""What a message says, rendered by Alertmanager's own amtool: a title always, one that says one
thing, and texts that fit into every channel."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.alerting import ROOT
from tests.generations import Generation, each_generation

pytestmark = pytest.mark.integration
LONGEST = {"slack": 3000, "telegram": 4096, "pagerduty title": 1024, "lock screen": 280}


def alert(status: str = "firing", labels: Any = None, **annotations: str) -> dict[str, Any]:
    """One of a group."""
    return {
        "status": status, "labels": {"alertname": "BotStopped", **(labels or {})},
        "annotations": annotations, "startsAt": "2026-11-30T10:00:00Z",
        "endsAt": "2026-11-30T11:00:00Z",
    }  # fmt: skip


def render(
    generation: Generation, folder: Path, template: str, *alerts: dict[str, Any], zone: str = "UTC"
) -> str:
    """As Alertmanager does it for a group of these, where TZ is `zone`."""

    def common(kind: str) -> dict[str, str]:
        first, *others = (one[kind] for one in alerts)
        return {n: v for n, v in first.items() if all(other.get(n) == v for other in others)}

    data = {
        "status": "firing" if any(one["status"] == "firing" for one in alerts) else "resolved",
        "alerts": alerts, "externalURL": "http://alertmanager", "groupLabels": {},
        "commonLabels": common("labels"), "commonAnnotations": common("annotations"),
    }  # fmt: skip
    (folder / "data.json").write_text(json.dumps(data))
    done = subprocess.run(
        [generation.program("amtool"), "template", "render",
         f"--template.glob={ROOT}/alerting/templates/*.tmpl", f"--template.text={template}",
         f"--template.data={folder / 'data.json'}"],
        capture_output=True, text=True, check=False, env=os.environ | {"TZ": zone},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n")


TITLE, TEXT = '{{ template "quant.title" . }}', '{{ template "quant.text" . }}'
ON = {"severity": "critical", "instance": "vps:9101"}
TASK = {"severity": "critical", "instance": "a:1", "job": "quant-exporter", "task": "rebalance"}


@each_generation
def test_a_title_always_says_what_it_is_about(generation: Generation, tmp_path: Path) -> None:
    """The common summary, else the name and how many; without any label, still the name."""

    def title(*alerts: dict[str, Any]) -> str:
        return render(generation, tmp_path, TITLE, *alerts)

    two = [alert(labels={**ON, "bot": bot}, summary=f"{bot} bot stopped") for bot in ("a", "b")]
    assert title(*two) == "CRITICAL vps:9101: BotStopped (2)"
    assert title(two[0]) == "CRITICAL vps:9101: a bot stopped"
    assert title(alert(labels=ON)) == "CRITICAL vps:9101: BotStopped"
    assert title(alert()) == "ALERT BotStopped"
    assert title(alert(labels=TASK, summary="Task failed")) == "CRITICAL rebalance: Task failed"
    file = {**ON, "file": "bot_a"}
    assert title(alert(labels=file, summary="Fetches fail")) == "CRITICAL bot_a: Fetches fail"


@each_generation
def test_the_fields_of_a_message_are_never_empty(generation: Generation, tmp_path: Path) -> None:
    """Slack refuses one without a value, so that an alert without a severity reached nobody."""
    receivers = yaml.safe_load((ROOT / "alerting/alertmanager.yml").read_text())["receivers"]
    fields = [
        field["value"] for one in receivers for slack in one.get("slack_configs", ())
        for field in slack["fields"]
    ]  # fmt: skip
    assert len(fields) >= 2
    for value in fields:
        assert render(generation, tmp_path, value, alert()).strip(), value


@each_generation
def test_a_text_falls_back_to_what_there_is(generation: Generation, tmp_path: Path) -> None:
    """Description, summary, message, name."""
    alerts = [
        alert(description="d", summary="s"), alert(summary="s"), alert(message="m"), alert(),
    ]  # fmt: skip
    assert render(generation, tmp_path, TEXT, *alerts) == "d\ns\nm\nBotStopped"


@each_generation
def test_a_resolved_message_says_what_is_ok_again(generation: Generation, tmp_path: Path) -> None:
    """Not the old fault; what brings no such sentence is said to fire no longer."""
    over = alert(
        "resolved", TASK, summary="Task failed", description="Task rebalance failed: no route",
        resolved="Task succeeds again",
    )  # fmt: skip
    assert render(generation, tmp_path, TITLE, over) == "OK rebalance: Task succeeds again"
    assert render(generation, tmp_path, TEXT, over) == "Task succeeds again."
    foreign = alert("resolved", ON, summary="a bot stopped")
    assert render(generation, tmp_path, TITLE, foreign) == "OK vps:9101: a bot stopped"
    assert render(generation, tmp_path, TEXT, foreign) == "a bot stopped: no longer firing."


@each_generation
def test_a_group_of_hundreds_fits_everywhere(generation: Generation, tmp_path: Path) -> None:
    """However long names, labels and texts are."""
    alerts = [
        alert(labels={**ON, "task": "t" * 5_000, "n": str(n), "junk": "j" * 900},
              summary=f"{n} " + "s" * 5_000, description=f"{n} " + "ü: #\n" * 2_000)
        for n in range(300)
    ]  # fmt: skip
    title, text = (render(generation, tmp_path, one, *alerts) for one in (TITLE, TEXT))
    assert len(title) <= LONGEST["lock screen"]
    assert len(text) <= LONGEST["slack"]
    assert text.endswith("\n300 alerts in all.")
    for one in alerts[:1]:
        assert len(render(generation, tmp_path, TITLE, one)) <= LONGEST["pagerduty title"]
    telegram = (
        '{{ template "quant.title" . }}\n{{ template "quant.description" . }}\n'
        '{{ template "quant.ack" . }}'
    )
    assert len(render(generation, tmp_path, telegram, *alerts)) <= LONGEST["telegram"]
    changed = render(generation, tmp_path, '{{ template "quant.changed" . }}', *alerts)
    assert changed.count("firing since") == 4
    assert changed.endswith("; 300 in all")


@each_generation
def test_the_link_names_the_alert_and_no_label_that_is_too_long(
    generation: Generation, tmp_path: Path
) -> None:
    """A label that is cut would match nothing."""
    link = '{{ template "quant.ack" . }}'
    known = alert(labels={**TASK, "junk": "j" * 101})
    assert render(generation, tmp_path, link, known) == (
        "http://localhost:10077/ack?alertname=BotStopped&instance=a%3A1&job=quant-exporter"
        "&severity=critical&task=rebalance"
    )


@each_generation
def test_since_when_is_said_in_the_zone_of_alertmanager(
    generation: Generation, tmp_path: Path
) -> None:
    """With its name, so that it is true wherever that is not set."""
    changed = '{{ template "quant.changed" . }}'
    assert render(generation, tmp_path, changed, alert(), zone="America/New_York") == (
        "firing since 2026-11-30 05:00 EST"
    )
    assert render(generation, tmp_path, changed, alert("resolved"), zone="Asia/Singapore") == (
        "resolved 2026-11-30 19:00 +08, started 18:00"
    )
    assert render(generation, tmp_path, changed, alert()) == "firing since 2026-11-30 10:00 UTC"
