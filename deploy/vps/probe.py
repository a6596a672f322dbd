"""The running exporter, asked over HTTP."""

from __future__ import annotations

import json
import re
import urllib.request
from typing import Any

from releases import About

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def get(url: str, timeout: float = 3.0) -> str:
    """What the address answers. Raises :class:`OSError` when it does not, or not well."""
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return str(answer.read().decode())


def is_ready(about: About) -> bool:
    """Whether ``/-/ready`` says yes within two seconds."""
    try:
        get(about.url + "/-/ready", timeout=2.0)
    except OSError:
        return False
    return True


def samples(about: About, name: str, by: str = "task") -> dict[str, float]:
    """One metric by a label's value ("" without it). Raises :class:`OSError` without an answer."""
    found = {}
    for line in get(f"{about.url}/metrics").splitlines():
        match = _SAMPLE.match(line)
        if match and match[1] == name:
            labels = dict(_LABEL.findall(match[2] or ""))
            found[labels.get(by, "")] = float(match[3])
    return found


def running(about: About) -> set[str]:
    """Tasks that run now; none when the exporter does not answer."""
    try:
        return {task for task, value in samples(about, "quant_task_running").items() if value > 0}
    except OSError:
        return set()


def errors(about: About) -> dict[str, float]:
    """Errors since its start, by logger."""
    return samples(about, "quant_log_errors_total", by="logger")


def prometheus(path: str) -> Any:
    """Prometheus' answer to an API request, or None when it does not answer."""
    try:
        return json.loads(get(f"http://127.0.0.1:9090/api/v1/{path}"))["data"]
    except (OSError, ValueError, KeyError):
        return None


def firing() -> list[str]:
    """Alerts that fire: what Prometheus says, and what others told Alertmanager; silenced ones are
    marked. The watchdog, which always fires, is left out."""
    found = {}
    for alert in (prometheus("alerts") or {}).get("alerts", []):
        if alert["state"] == "firing":
            found[alert["labels"]["alertname"]] = ""
    try:
        told = json.loads(get("http://127.0.0.1:9093/api/v2/alerts"))
    except (OSError, ValueError):
        return [*sorted(found), "(Alertmanager does not answer)"]
    for alert in told:
        silenced = " (silenced)" if alert["status"]["silencedBy"] else ""
        found[alert["labels"]["alertname"]] = silenced
    return sorted(f"{n}{s}" for n, s in found.items() if n != "QuantWatchdog")
