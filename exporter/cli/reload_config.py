"""``quant-exporter reload``."""

from __future__ import annotations

from pathlib import Path

from exporter.cli import client
from exporter.cli.with_config import with_config
from exporter.config import Config


def reload(path: Path) -> int:
    """Have the running exporter load the file again."""

    def ask(config: Config) -> int:
        client.call(config, "POST", "/-/reload")
        print("configuration reloaded")
        return 0

    return with_config(path, ask)
