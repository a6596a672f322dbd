"""Loki and Alloy: the exporter's log files and the journal, to be looked at in Grafana.

Both go again when the setting goes; what they keep in /var/lib/loki and /var/lib/alloy stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import settings
from desired import Disabled, Enabled, File, Folder, Gone, Thing
from packages import Deb, Packages, Removed
from places import SYSTEMD, TOOL

NAMES = ("loki", "alloy")
_CONFIG = Path("/etc/loki/quant.yml")
_PIPES = Path("/etc/alloy/quant")
"""All that lies there is one configuration, also what the user puts there."""
_KEPT = "/var/lib/loki"


def log_things(wanted: settings.Settings) -> Iterator[Thing]:
    """In order: settings, packages (theirs start at once), and they run; or the way back."""
    if wanted.logs is not None:
        yield from _settings()
        yield from _packages(wanted.logs)
        yield from (Enabled(f"{name}.service") for name in NAMES)
    elif settings.read().logs is not None:
        yield from (Disabled(f"{name}.service") for name in reversed(NAMES))
        yield from (Gone(file) for file in (_CONFIG, *map(_pipe, ("exporter", "journal"))))
        yield from (Gone(_drop_in(name), then=["systemctl daemon-reload"]) for name in NAMES)
        yield Removed(list(NAMES))


def _settings() -> Iterator[Thing]:
    """The containers' files, with the places that they have on this machine."""
    files, shared = TOOL / "files", TOOL / "loki"
    loki = (shared / "loki.yml").read_text().replace("/loki", _KEPT)
    alloy = (shared / "alloy.config").read_text().replace("//loki:3100/", "//127.0.0.1:3100/")
    yield Folder(_CONFIG.parent)
    yield File(_CONFIG, loki, then=["systemctl try-restart loki.service"])
    again = ["systemctl try-restart alloy.service"]
    yield Folder(_PIPES)
    yield File(_pipe("exporter"), alloy, then=again)
    yield File(_pipe("journal"), (files / "journal.alloy").read_text(), then=again)
    for name in NAMES:
        then = ["systemctl daemon-reload", f"systemctl try-restart {name}.service"]
        yield File(_drop_in(name), (files / f"{name}.conf").read_text(), then=then)


def _packages(asked: dict[str, Any]) -> Iterator[Thing]:
    if "source" in asked:
        yield Packages(list(NAMES))
    else:
        yield from (Deb(name, Path(asked[name])) for name in NAMES)


def _pipe(name: str) -> Path:
    return _PIPES / f"{name}.alloy"


def _drop_in(name: str) -> Path:
    return SYSTEMD / f"{name}.service.d/quant.conf"
