"""Reading docker-compose.yml as an engine would, without one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LASTING = {name: s for name, s in SERVICES.items() if s["restart"] != "no"}


@dataclass(frozen=True)
class Mount:
    """One entry of a service's `volumes`, whether it is written as text or as a mapping."""

    source: str
    target: str
    read_only: bool
    copies: bool
    """Whether an engine fills an empty volume with what the image has there."""

    @property
    def is_file(self) -> bool:
        """Something of the checkout, no named volume."""
        return self.source.startswith("./")


def mounts(service: dict[str, Any]) -> list[Mount]:
    """All of a service's volumes."""
    return [_mount(volume) for volume in service.get("volumes", ())]


def _mount(volume: str | dict[str, Any]) -> Mount:
    if isinstance(volume, str):
        source, target, *mode = volume.split(":")
        return Mount(source, target, read_only=mode == ["ro"], copies=True)
    copies = not volume.get("volume", {}).get("nocopy", False)
    return Mount(volume["source"], volume["target"], volume.get("read_only", False), copies)


def mounted_files() -> list[tuple[str, str, str]]:
    """(service, place on this machine, place in the container) of every bind mount."""
    return [
        (name, mount.source, mount.target)
        for name, service in SERVICES.items()
        for mount in mounts(service)
        if mount.is_file
    ]


def bytes_of(limit: str) -> int:
    """``768m`` in bytes."""
    number, unit = re.fullmatch(r"(\d+)([mg])", limit).groups()  # type: ignore[union-attr]
    return int(number) * {"m": 2**20, "g": 2**30}[unit]


def secret_names(service: dict[str, Any]) -> set[str]:
    """The secrets that a service is given."""
    return {s if isinstance(s, str) else s["source"] for s in service.get("secrets", ())}
