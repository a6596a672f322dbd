"""How the user calls this program."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def own_command() -> str:
    """``quant-exporter`` where it is on the PATH, or else its path."""
    name = "quant-exporter"
    return name if shutil.which(name) else str(Path(sys.executable).with_name(name))
