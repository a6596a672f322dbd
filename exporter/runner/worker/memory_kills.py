"""Whether the kernel killed a process for memory in the cgroup that this process is in: of a
container, a service or a session. Each of them counts what was killed; see cgroups(7)."""

from __future__ import annotations

import contextlib
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_NO_LIMIT = 2**60
"""Version 1 has a number of pages close to 2⁶³ bytes where there is no limit."""


class MemoryKills:
    """Those since it was made."""

    def __init__(self, root: Path = _ROOT, own: Path = _OWN) -> None:
        self._events, self._limit = _files(root, own)
        self._before = self._count()

    def limit_if_any(self) -> float | None:
        """None when there was none; else what all in the group may use, in bytes, or 0.0 where
        that is not known."""
        return self._most() if self._count() > self._before else None

    def _count(self) -> int:
        try:
            words = self._events.read_text(encoding="ascii").split()
            return int(words[words.index("oom_kill") + 1])
        except (OSError, ValueError):
            return 0

    def _most(self) -> float:
        with contextlib.suppress(OSError, ValueError):  # "max" stands for none
            if (most := int(self._limit.read_text(encoding="ascii"))) < _NO_LIMIT:
                return float(most)
        return 0.0


def _files(root: Path, own: Path) -> tuple[Path, Path]:
    """Where the group counts, and where its limit is."""
    places: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError):
        for line in own.read_text(encoding="ascii").splitlines():
            _, controllers, place = line.split(":", 2)
            places |= dict.fromkeys(controllers.split(","), place.strip("/"))
    if "memory" in places:
        # A container sees its own group at the top, under a name that it has elsewhere.
        inside = root / "memory" / places["memory"]
        group = inside if inside.is_dir() else root / "memory"
        return group / "memory.oom_control", group / "memory.limit_in_bytes"
    group = root / places.get("", "")
    return group / "memory.events", group / "memory.max"
