"""What ``vps.yml`` on the laptop asks for, as the last provision left it here."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from places import SETTINGS

SERVERS = ("prometheus.service", "prometheus-alertmanager.service")


@dataclass(frozen=True)
class Settings:
    """The sections that are there; checked on the laptop."""

    remote_write: dict[str, Any] | None = None
    prometheus: str = "here"
    """Where Prometheus and Alertmanager run: here, or elsewhere."""
    tunnel: str | None = None
    """The public key of the machine where they run."""
    wireguard: dict[str, Any] | None = None
    """The other machine's public key, the port here, and the network of the two."""
    metrics_token: bool = False
    """Whether who has a token may read /metrics from outside."""
    metrics_user: str | None = None
    """Who may read /metrics from outside."""

    grafana: Any = None
    """Its source with the key and that key's fingerprint, or a package's file; False for never;
    None where a source that somebody else configured decides."""

    logs: Any = None
    """Where Loki and Alloy come from: a source with its key, or a file each. None for no Loki."""

    @property
    def servers(self) -> tuple[str, ...]:
        """Units that read files of a release on this machine."""
        return SERVERS if self.prometheus == "here" else ()

    @classmethod
    def of(cls, text: str) -> Settings:
        """From JSON, also of an older or a newer version of this tool."""
        known, names = json.loads(text), {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in known.items() if name in names})

    def text(self) -> str:
        """As it is kept."""
        return json.dumps(self.__dict__, indent=1, sort_keys=True) + "\n"


def read(file: Path = SETTINGS) -> Settings:
    """Those of a file; none where it is missing."""
    return Settings.of(file.read_text()) if file.is_file() else Settings()
