"""What is here and how it does."""

from __future__ import annotations

import datetime
import json
import shutil
import time
from pathlib import Path
from typing import Any

import probe
import settings
import wireguard
from places import HISTORY, STATE, UNIT
from releases import Release, current, every
from settings import SERVERS
from shell import attempt, is_active, say, shows

_SHOWN = ("prometheus", "prometheus-alertmanager", "grafana-server", "loki", "alloy", "nginx")


def status() -> bool:
    """Print version, uptime, health, last runs, disk and what fires; True when all is well."""
    now = current()
    say(f"version   {now.version if now else 'none deployed yet'}")
    _machine()
    ready = _exporter(now)
    for unit in _SHOWN:
        if attempt("systemctl", "cat", f"{unit}.service").returncode == 0:
            say(f"{unit:<24}{_how(f'{unit}.service')}")
    if key := wireguard.public_key():
        heard = wireguard.last_heard()
        when = f"heard {_age(time.time() - heard)} ago" if heard else "not heard yet"
        say(f"wireguard public key {key}; other machine: {when}")
    if ready and now:
        _tasks(now)
    for path in {Path(each).stat().st_dev: each for each in (STATE, "/")}.values():
        disk = shutil.disk_usage(path)
        low = "  LOW" if disk.free < disk.total / 10 else ""
        say(f"disk      {path}: {disk.free / 1e9:.1f} GB free of {disk.total / 1e9:.1f} GB{low}")
    say(f"firing    {', '.join(probe.firing()) or 'nothing'}")
    for release in every():
        proved = "good" if release.good_at else "not proved"
        say(f"release   {release.version} ({proved}){' <- current' if release == now else ''}")
    for line in HISTORY.read_text().splitlines()[-5:] if HISTORY.exists() else []:
        entry = json.loads(line)
        at = datetime.datetime.fromtimestamp(entry["at"], datetime.timezone.utc)  # noqa: UP017
        say(f"history   {at:%Y-%m-%d %H:%M}Z {entry['what']} {entry['version']}")
    return ready


def _how(unit: str) -> str:
    if is_active(unit):
        return "active"
    return "elsewhere" if unit in set(SERVERS) - set(settings.read().servers) else "NOT ACTIVE"


def _machine() -> None:
    synchronised = attempt("timedatectl", "show", "--property=NTPSynchronized", "--value").stdout
    clock = "synchronised" if synchronised.strip() == "yes" else "NOT SYNCHRONISED"
    waits = "; a reboot is due for updates" if Path("/run/reboot-required").exists() else ""
    say(f"machine   up {_age(time.clock_gettime(time.CLOCK_BOOTTIME))}, clock {clock}{waits}")


def _exporter(now: Release | None) -> bool:
    shown = shows(UNIT, "ActiveState", "SubState", "NRestarts", "ActiveEnterTimestampMonotonic")
    ready = bool(now) and probe.is_ready(now.about)
    up = time.monotonic() - float(shown["ActiveEnterTimestampMonotonic"] or 0) / 1e6
    since = f"up {_age(up)}, " if shown["ActiveState"] == "active" else ""
    say(
        f"exporter  {shown['ActiveState']} ({shown['SubState']}), "
        f"{'ready' if ready else 'not ready'}, {since}{shown['NRestarts']} restarts"
    )
    return ready


def _tasks(now: Release) -> None:
    """Each task's last run and its next slot, as the exporter's API tells them."""
    try:
        tasks = json.loads(probe.get(f"{now.about.url}/api/v1/tasks"))["tasks"]
    except (OSError, ValueError, KeyError):
        say("tasks     the exporter does not tell")
        return
    for task in tasks:
        say(f"task      {task['name']:<28} {task['state']:<8} {_runs(task, time.time())}")


def _runs(task: dict[str, Any], now: float) -> str:
    last, following = task.get("last_end"), task.get("next_slot")
    told = f"{task['last_outcome']} {_age(now - last)} ago" if last else "has not run yet"
    if following:
        told += f", next in {_age(max(0.0, following - now))}"
    return told


def _age(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))
