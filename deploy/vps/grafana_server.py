"""Grafana: its package, from its makers' source or a file, its settings, data sources and boards.

It goes again when the setting goes; what it keeps in /var/lib/grafana stays.
"""

from __future__ import annotations

import re
import secrets
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpgp
import settings
from desired import Deb, Disabled, Enabled, File, Gone, Packages, Removed, Step, Thing, guarded
from places import GRAFANA_PASSWORD, SYSTEMD, TOOL, ProblemError
from shell import attempt, run

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
_DROP_IN = SYSTEMD / f"{UNIT}.d/quant.conf"
_SOURCE = Path("/etc/apt/sources.list.d/quant-grafana.list")
_KEYS = Path("/etc/apt/keyrings/quant-grafana.gpg")
_NAMED = re.compile(r"(?im)^[^#\n]*\bgrafana\b")


class Grafana:
    """What there is to do about it."""

    def __init__(self, wanted: settings.Settings) -> None:
        self._wanted = wanted.grafana
        before = settings.read().grafana
        self.is_wanted = bool(self._wanted) or (
            self._wanted is None and (_is_somebody_elses() if before else _has_a_source())
        )
        self._goes = self._wanted is False or (bool(before) and not self.is_wanted)

    def things(self) -> Iterator[Thing]:
        """In order: source, package, settings, boards, and it runs; or the way back."""
        if self.is_wanted:
            yield from self._package()
            yield from _settings()
        elif self._goes:
            yield Disabled(UNIT)
            yield from (Gone(link) for link in _LINKS)
            yield Gone(_DROP_IN, then=["systemctl daemon-reload"])
            yield Removed(["grafana"])
            yield from (Gone(file) for file in (_SOURCE, _KEYS))

    def _package(self) -> Iterator[Thing]:
        asked: dict[str, Any] = self._wanted or {}
        if file := asked.get("deb"):
            yield Deb("grafana", Path(file))
            yield from (Gone(file) for file in (_SOURCE, _KEYS))
            return
        if asked:
            yield Step(lambda: _key_differs(asked), lambda: _write_key(asked))
            yield File(_SOURCE, f"deb [signed-by={_KEYS}] {asked['source']} stable main\n")
        yield Packages(["grafana"])


def _settings() -> Iterator[Thing]:
    restart = ["systemctl daemon-reload", f"systemctl try-restart {UNIT}"]
    yield Step(
        lambda: (
            None
            if GRAFANA_PASSWORD.exists()
            else f"make a password for Grafana in {GRAFANA_PASSWORD}"
        ),
        lambda: guarded(GRAFANA_PASSWORD, secrets.token_urlsafe(24), "grafana"),
    )
    yield from (_linked(link, target) for link, target in _LINKS.items())
    yield File(_DROP_IN, (TOOL / "files/grafana.conf").read_text(), then=restart)
    yield Enabled(UNIT)


def _linked(link: Path, target: Path) -> Step:
    def make() -> None:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)

    def wrong() -> str | None:
        right = link.is_symlink() and link.readlink() == target
        return None if right else f"link {link} to {target}"

    return Step(wrong, make)


def _key_differs(asked: dict[str, Any]) -> str | None:
    try:
        openpgp.only(_KEYS.read_bytes(), asked["fingerprint"])
    except (OSError, ProblemError):
        return f"write {_KEYS}, from {asked['key']}, fingerprint {asked['fingerprint']}"
    return None


def _write_key(asked: dict[str, Any]) -> None:
    try:
        with urllib.request.urlopen(asked["key"], timeout=30) as answer:
            fetched = answer.read(1_000_000)
    except OSError as error:
        raise ProblemError(
            f"vps.yml: grafana.key: {asked['key']} cannot be fetched ({error}). Where the machine "
            "may not go there, give its package as a file: grafana: {deb: …}"
        ) from error
    try:
        key = openpgp.only(fetched, asked["fingerprint"])
    except ProblemError as problem:
        raise ProblemError(f"vps.yml: grafana.fingerprint: {problem}") from problem
    _KEYS.parent.mkdir(parents=True, exist_ok=True)
    _KEYS.write_bytes(key)
    run("chmod", "644", _KEYS)


def _has_a_source() -> bool:
    """Whether a package source of Grafana's is configured; Debian has no package of it."""
    asked = attempt("apt-cache", "policy", "grafana").stdout
    known = "Candidate: " in asked and "Candidate: (none)" not in asked
    return known or _is_somebody_elses()


def _is_somebody_elses() -> bool:
    """Whether a source that we did not write is configured, also one that apt has not asked yet."""
    folder = Path("/etc/apt/sources.list.d")
    files = [Path("/etc/apt/sources.list"), *folder.glob("*.list"), *folder.glob("*.sources")]
    return any(
        _NAMED.search(file.read_text(errors="replace"))
        for file in files
        if file.is_file() and file != _SOURCE
    )
