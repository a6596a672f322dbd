"""The two generations of Prometheus and Alertmanager that the shipped files must hold on: Debian
12's own (2.42 and 0.25), and a newer one (3.x and 0.3x), unpacked by tools/install-newer-servers.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")


def _newer() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    suite = os.environ.get("NEWER_SUITE", "forky")
    return cache / f"quant-exporter-tests/servers-{suite}/bin"


@dataclass(frozen=True)
class Generation:
    """Where its programs are: a folder, or the PATH."""

    name: str
    folder: Path | None = None

    def program(self, name: str) -> str:
        """What to start."""
        return str(self.folder / name) if self.folder else name

    @property
    def missing(self) -> list[str]:
        """Programs that are not there."""
        return [name for name in PROGRAMS if not shutil.which(self.program(name))]

    @property
    def why(self) -> str:
        """Why its tests skip."""
        how = "tools/install-newer-servers" if self.folder else "tools/install-test-packages"
        return f"{self.name} generation: {', '.join(self.missing)} not installed ({how})"


OLDER = Generation("older")
NEWER = Generation("newer", _newer())
GENERATIONS = [
    pytest.param(one, id=one.name, marks=pytest.mark.skipif(bool(one.missing), reason=one.why))
    for one in (OLDER, NEWER)
]
each_generation = pytest.mark.parametrize("generation", GENERATIONS)
