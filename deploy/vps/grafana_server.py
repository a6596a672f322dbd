"""Grafana: its package, from its makers' source or a file, its settings, data sources and boards.

It goes again when the setting goes; what it keeps in /var/lib/grafana stays.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import settings
from desired import Disabled, Enabled, File, Gone, Link, Step, Thing, guarded
from package_source import is_somebody_elses
from packages import Deb, Packages, Removed
from places import GRAFANA_PASSWORD, SYSTEMD, TOOL
from releases import current
from shell import attempt

UNIT = "grafana-server.service"
_ETC, _MADE = Path("/etc/grafana"), Path("/opt/quant/current/grafana")
_LINKS = {
    _ETC / "quant-dashboards": _MADE / "dashboards",
    **{
        _ETC / f"provisioning/{kind}/quant.yml": _MADE / f"provisioning/{kind}/quant.yml"
        for kind in ("datasources", "dashboards")
    },
}
"""Of whatever release is current; the user's own provisioning lies next to ours."""
_LOKI = _ETC / "provisioning/datasources/quant-loki.yml"
_DROP_IN = SYSTEMD / f"{UNIT}.d/quant.conf"
_PAGE = SYSTEMD / f"{UNIT}.d/quant-page.conf"
BOARDS = SYSTEMD / "quant-exporter.service.d/quant-boards.conf"
_AGAIN = [f"systemctl try-restart {UNIT}"]
_RELOADED = ["systemctl daemon-reload", *_AGAIN]


class Grafana:
    """What there is to do about it."""

    def __init__(self, wanted: settings.Settings) -> None:
        self._wanted, self._with_loki = wanted.grafana, wanted.logs is not None
        before = settings.read().grafana
        self.is_wanted = bool(self._wanted) or (
            self._wanted is None and (is_somebody_elses() if before else _has_a_source())
        )
        self._goes = self._wanted is False or (bool(before) and not self.is_wanted)

    def things(self) -> Iterator[Thing]:
        """In order: package, settings, boards, and it runs; or the way back."""
        if self.is_wanted:
            yield self._package()
            yield from self._settings()
        elif self._goes:
            yield Disabled(UNIT)
            yield from (Gone(link) for link in (*_LINKS, _LOKI))
            yield Gone(_PAGE)
            yield Gone(BOARDS, then=["systemctl daemon-reload"])
            yield Gone(_DROP_IN, then=["systemctl daemon-reload"])
            yield Removed(["grafana"])

    def _package(self) -> Thing:
        asked: dict[str, Any] = self._wanted or {}
        if file := asked.get("deb"):
            return Deb("grafana", Path(file))
        return Packages(["grafana"])

    def _settings(self) -> Iterator[Thing]:
        yield Step(
            lambda: (
                None
                if GRAFANA_PASSWORD.exists()
                else f"make a password for Grafana in {GRAFANA_PASSWORD}"
            ),
            lambda: guarded(GRAFANA_PASSWORD, secrets.token_urlsafe(24), "grafana"),
        )
        yield from (Link(link, target) for link, target in _LINKS.items())
        if self._with_loki:
            yield Link(_LOKI, _MADE / "provisioning/datasources/loki.yml", then=_AGAIN)
        else:
            yield Gone(_LOKI, then=_AGAIN)
        yield File(_DROP_IN, (TOOL / "files/grafana.conf").read_text(), then=_RELOADED)
        if release := current():
            yield link_to_page(release.about.public_url)
            text = link_to_boards(release.about.public_url)
            yield File(BOARDS, text, then=["systemctl daemon-reload"])
        yield Enabled(UNIT)


def link_to_page(public_url: str) -> File:
    """Where a log line leads from to its run: the page of the release that runs."""
    return File(_PAGE, _environment(f"EXPORTER_URL={_address(public_url)}"), then=_RELOADED)


def link_to_boards(public_url: str) -> str:
    """The drop-in by which the exporter's pages lead to the boards, from its next start on."""
    return _environment(f"QUANT_DASHBOARDS_URL={_address(public_url)}/grafana")


def _address(public_url: str) -> str:
    return public_url.rstrip("/").replace("%", "%%")


def _environment(variable: str) -> str:
    return f"# From public_url in exporter.yml.\n[Service]\nEnvironment={variable}\n"


def _has_a_source() -> bool:
    """Whether a package source of Grafana's is configured; Debian has no package of it."""
    asked = attempt("apt-cache", "policy", "grafana").stdout
    known = "Candidate: " in asked and "Candidate: (none)" not in asked
    return known or is_somebody_elses()
