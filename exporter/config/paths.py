"""Where the exporter keeps its files: decided here and nowhere else."""

from __future__ import annotations

from pathlib import Path

from exporter.config.model import Config


def token_path(config: Config) -> Path:
    """The write token: ``token`` next to the state file."""
    return config.state.with_name("token")


def cache_folder(config: Config) -> Path:
    """Built calendars: ``cache`` next to the state file."""
    return config.state.parent / "cache"


def reports_folder(config: Config) -> Path:
    """Reports and digests: ``reports`` next to the state file."""
    return config.state.parent / "reports"
