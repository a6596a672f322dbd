"""``quant-exporter reload``."""

from __future__ import annotations

from pathlib import Path

from exporter.cli import client
from exporter.cli.with_config import with_config
from exporter.config import Config


def reload(path: Path, *, force: bool = False) -> int:
    """Have the running exporter load the file again; with `force` also one that names nothing."""

    def ask(config: Config) -> int:
        client.call(config, "POST", "/-/reload?force=true" if force else "/-/reload")
        print("configuration reloaded")
        return 0

    return with_config(path, ask)
