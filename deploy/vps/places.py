"""Where everything lies on the VPS, and how it is asked for. One place decides each path."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path("/opt/quant")
TOOL = Path(__file__).resolve().parent
"""This very folder; the units find the newest one as /opt/quant/tool."""
RELEASES = ROOT / "releases"
INCOMING = ROOT / "incoming"
CURRENT = ROOT / "current"

ETC = Path("/etc/quant-exporter")
CREDENTIALS = ETC / "credentials"
STATE = Path("/var/lib/quant-exporter")
LOGS = Path("/var/log/quant-exporter")
BACKUPS = Path("/var/backups/quant-exporter")
WRITTEN = Path("/var/lib/quant-deploy/written.json")
"""What provision wrote last, so that an edit of the user's can be told from an old file."""
PAGER_SECRETS = Path("/etc/alertmanager/secrets")
"""Where alertmanager.yml looks for its secrets: copies of those among ours that it names."""
SYSTEMD = Path("/etc/systemd/system")
PROGRAMS_LIMITS = Path("/etc/systemd/system/quant-programs@.service.d/config.conf")
ALERTMANAGER_ZONE = Path("/etc/systemd/system/prometheus-alertmanager.service.d/zone.conf")
GRAFANA_PASSWORD = ETC / "grafana-password"
SETTINGS = ETC / "settings.json"
"""What vps.yml on the laptop said at the last provision."""
PROMETHEUS_COPY = ".with-remote-write.yml"
"""Next to a release's prometheus.yml: the same, and where its series are sent."""
RESERVE = Path("/var/lib/quant-deploy/reserve")
"""Room on the disk that a rollback gives back: systemd cannot start anything on a full one."""
HISTORY = Path("/var/lib/quant-deploy/history.jsonl")

CONFIG = ("exporter.yml", "alerting", "prometheus")
"""The files of a release that say what runs and who hears of it."""

USER = "quant"
UNIT = "quant-exporter.service"
KEEP_RELEASES = 5
KEEP_BACKUPS = 20

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class ProblemError(Exception):
    """Something a person has to know: the sentence says what is wrong and what to do."""


def release(version: str) -> Path:
    """The folder of a version. Raises :class:`ProblemError` for a name that is no version."""
    if not _VERSION.fullmatch(version) or ".." in version:
        raise ProblemError(f"{version!r} is no version; see `status` for those that are here")
    return RELEASES / version


def installed_deb(package: str) -> Path:
    """Says which file a package was installed from."""
    return HISTORY.with_name(f"{package}-deb")


def need_a_provisioned_machine() -> None:
    """Raises :class:`ProblemError` before the first provision has come to its end."""
    missing = [folder for folder in (RELEASES, CREDENTIALS, STATE) if not folder.is_dir()]
    if missing:
        raise ProblemError(f"this machine is not set up yet ({missing[0]} is not there): provision")
