"""Reading docker-compose.yml as an engine would, without one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LASTING = {name: s for name, s in SERVICES.items() if s["restart"] != "no"}


def mounted_files() -> list[tuple[str, str, str]]:
    """(service, place on this machine, place in the container) of every bind mount."""
    return [
        (name, *_pair(volume))
        for name, service in SERVICES.items()
        for volume in service.get("volumes", ())
        if volume.startswith("./")
    ]


def _pair(volume: str) -> tuple[str, str]:
    here, there, *_ = volume.split(":")
    return here, there


def bytes_of(limit: str) -> int:
    """``768m`` in bytes."""
    number, unit = re.fullmatch(r"(\d+)([mg])", limit).groups()  # type: ignore[union-attr]
    return int(number) * {"m": 2**20, "g": 2**30}[unit]


def secret_names(service: dict[str, Any]) -> set[str]:
    """The secrets that a service is given."""
    return {s if isinstance(s, str) else s["source"] for s in service.get("secrets", ())}
