"""The shipped Prometheus and Alertmanager files, pointed at the sinks and made quick.

Routes, rules, templates and inhibition stay what they are; addresses, secrets and times change. So
`make stack` and the end-to-end tests show what a real installation does, in seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from exporter.util.units import parse_duration


@dataclass(frozen=True)
class Ports:
    """Where everybody listens, on 127.0.0.1."""

    exporter: int
    prometheus: int
    alertmanager: int
    sinks: int
    smtp: int


@dataclass(frozen=True)
class Speed:
    """Shortened times, in Prometheus' notation."""

    scrape: str
    pending: str
    hold: str
    group_wait: str
    group_interval: str
    escalation: str


SHOW = Speed(
    scrape="2s", pending="4s", hold="6s", group_wait="1s", group_interval="5s", escalation="40s"
)
"""For people: the whole story in two minutes."""


def write(folder: Path, root: Path, ports: Ports, speed: Speed, token: Path) -> None:
    """Write ``prometheus.yml``, ``rules/``, ``alertmanager.yml``, ``templates/``, ``secrets/``.

    `root` holds the project's alerting/ and prometheus/; `token` is the exporter's write token.
    """
    for name in ("rules", "templates", "secrets"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for file in sorted((root / "prometheus/rules").glob("*.yml")):
        (folder / "rules" / file.name).write_text(_quick_rules(file.read_text(), speed))
    for file in sorted((root / "alerting/templates").glob("*.tmpl")):
        (folder / "templates" / file.name).write_text(file.read_text())
    _secrets(folder / "secrets", ports)
    shipped = yaml.safe_load((root / "prometheus/prometheus.yml").read_text())
    (folder / "prometheus.yml").write_text(yaml.safe_dump(_prometheus(shipped, ports, speed)))
    text = (root / "alerting/alertmanager.yml").read_text()
    text = text.replace("/etc/alertmanager/secrets/exporter_token", str(token))
    text = text.replace("/etc/alertmanager/secrets", str(folder / "secrets"))
    text = text.replace("http://localhost:10077", _at(ports.exporter))
    text = text.replace("https://hc-ping.com/your-check-uuid", _at(ports.sinks, "/deadman"))
    config = _alertmanager(yaml.safe_load(text), ports, speed)
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config, sort_keys=False))


def _at(port: int, path: str = "") -> str:
    return f"http://127.0.0.1:{port}{path}"


def _secrets(folder: Path, ports: Ports) -> None:
    for name, text in (
        ("slack_url", _at(ports.sinks, "/slack/made-up")),
        ("pagerduty_key", "0123456789abcdef0123456789abcdef"),
        ("smtp_password", "made-up"),
    ):
        file = folder / name
        file.write_text(text)
        file.chmod(0o600)


def _quick_rules(text: str, speed: Speed) -> str:
    def quick(found: re.Match[str]) -> str:
        # What waits longer than the others still does: Prometheus scrapes nothing in its first 5 s.
        seconds = parse_duration(speed.pending)
        return f"{found[1]} {seconds * (4 if parse_duration(found[2]) > 60 else 1):.0f}s"

    text = re.sub(r"^( +for:) (?!0s)(\w+)$", quick, text, flags=re.MULTILINE)
    return re.sub(r"^( +keep_firing_for:) \w+$", rf"\1 {speed.hold}", text, flags=re.MULTILINE)


def _prometheus(config: dict[str, Any], ports: Ports, speed: Speed) -> dict[str, Any]:
    config["global"].update(
        scrape_interval=speed.scrape, scrape_timeout=speed.scrape, evaluation_interval=speed.scrape
    )
    alertmanager = f"127.0.0.1:{ports.alertmanager}"
    config["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [alertmanager]}]
    targets = {
        "quant-exporter": f"127.0.0.1:{ports.exporter}",
        "prometheus": f"127.0.0.1:{ports.prometheus}",
        "alertmanager": alertmanager,
    }
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    return config


def _alertmanager(config: dict[str, Any], ports: Ports, speed: Speed) -> dict[str, Any]:
    config["global"].update(
        smtp_smarthost=f"127.0.0.1:{ports.smtp}",
        smtp_require_tls=False,
        pagerduty_url=_at(ports.sinks, "/v2/enqueue"),
    )
    for key in ("smtp_auth_username", "smtp_auth_password_file"):
        config["global"].pop(key)  # no client sends a password without TLS
    # In a show the hour of day must not matter.
    config["time_intervals"][0]["time_intervals"] = [
        {"times": [{"start_time": "00:00", "end_time": "24:00"}]}
    ]
    quick: Mapping[str, str] = {
        "group_wait": speed.group_wait,
        "group_interval": speed.group_interval,
    }

    def shorten(route: dict[str, Any]) -> None:
        for key, value in quick.items():
            if key in route:
                long = key == "group_wait" and route[key] == "15m"
                route[key] = speed.escalation if long else value
        for child in route.get("routes", ()):
            shorten(child)

    shorten(config["route"])
    return config
