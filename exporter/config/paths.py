"""Where the exporter keeps its files: decided here and nowhere else."""

from __future__ import annotations

import hashlib
from pathlib import Path

from exporter.config.model import Config

INSTANCE_HEADER = "X-Quant-Instance"
"""Every answer over HTTP carries :func:`instance_id` here."""


def token_path(config: Config) -> Path:
    """The write token: ``token`` next to the state file."""
    return config.state.with_name("token")


def cache_folder(config: Config) -> Path:
    """Built calendars: ``cache`` next to the state file."""
    return config.state.parent / "cache"


def reports_folder(config: Config) -> Path:
    """Reports and digests: ``reports`` next to the state file."""
    return config.state.parent / "reports"


def instance_id(config: Config) -> str:
    """Tells one exporter of this machine from another: it follows from where its state is."""
    return hashlib.sha256(str(config.state.resolve()).encode()).hexdigest()[:12]
