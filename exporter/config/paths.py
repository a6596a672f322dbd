"""Where the exporter keeps its files: decided here and nowhere else."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.config.model import Config

INSTANCE_HEADER = "X-Quant-Instance"
"""Every answer over HTTP carries :func:`instance_id` here."""


def token_path(config: Config) -> Path:
    """The write token: ``token`` next to the state file."""
    return config.state.with_name("token")


def ping_url_path(config: Config) -> Path:
    """Where external tasks of this machine ping, for `quant-exporter exec`: ``ping-url`` next to
    the state file."""
    return config.state.with_name("ping-url")


def crash_path(config: Config) -> Path:
    """What the threads of this process were doing when it hung or crashed: ``crash.txt`` next to
    the state file, empty until then."""
    return config.state.with_name("crash.txt")


def last_crash_path(config: Config) -> Path:
    """The same of a process before: ``last-crash.txt``."""
    return config.state.with_name("last-crash.txt")


def cache_folder(config: Config) -> Path:
    """Built calendars: ``cache`` next to the state file."""
    return config.state.parent / "cache"


def users_cache() -> Path:
    """What commands keep that leave nothing next to the state file: built calendars. For a user
    without a home, as in some containers, a folder that cannot be made: nothing is kept then."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    try:
        root = Path(given) if given.startswith("/") else Path("~/.cache").expanduser()
    except RuntimeError:
        root = Path(os.devnull)
    return root / "quant-exporter"


def reports_folder(config: Config) -> Path:
    """Reports and digests: ``reports`` next to the state file."""
    return config.state.parent / "reports"


def backtests_folder(config: Config) -> Path:
    """History, results and reports of backtests: ``backtests`` next to the state file, unless the
    file names another folder."""
    return config.backtests.folder or config.state.parent / "backtests"


def instance_id(config: Config) -> str:
    """Tells one exporter of this machine from another: it follows from where its state is."""
    return hashlib.sha256(str(config.state.resolve()).encode()).hexdigest()[:12]
