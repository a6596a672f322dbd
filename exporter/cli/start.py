"""``quant-exporter run``."""

from __future__ import annotations

from pathlib import Path

from exporter import app


def run(path: Path) -> int:
    """Run until SIGTERM or Ctrl-C."""
    return app.run(path)
