"""Memory limits by the kernel: a cgroup for each attempt that has one.

That needs version 2 of cgroups and one that this process may divide, as systemd gives a service
with ``Delegate=memory``. Where there is none, :mod:`.usage` measures instead.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def divide_own_group(root: Path = _ROOT, own: Path = _OWN) -> Path | None:
    """Make the cgroup of this process one that others may lie in; None when it may not.

    Processes can be in its leaves only, so this process moves into one.
    """
    try:
        lines = own.read_text(encoding="ascii").splitlines()
        (place,) = [line.removeprefix("0::/") for line in lines if line.startswith("0::")]
        group = root / place
        if "memory" not in (group / "cgroup.controllers").read_text().split():
            return None
        if (group / "cgroup.procs").read_text().split() != [str(os.getpid())]:
            return None  # it is not ours alone, as in a shell or a container
        helper = group / "helper"
        helper.mkdir()
    except (OSError, ValueError):
        return None
    try:
        _write(helper / "cgroup.procs", os.getpid())
        _write(group / "cgroup.subtree_control", "+memory")
    except OSError:
        with contextlib.suppress(OSError):
            _write(group / "cgroup.procs", os.getpid())
            helper.rmdir()
        return None
    return group


class MemoryGroup:
    """One attempt's. Its processes together get no more than `limit` bytes, swap included: the
    kernel kills all of them when they need more."""

    def __init__(self, parent: Path, limit: float) -> None:
        self._path = parent / f"attempt-{os.getpid()}"
        self._limit = limit
        self._path.mkdir()
        _write(self._path / "memory.max", int(limit))
        _write(self._path / "memory.oom.group", 1)
        with contextlib.suppress(OSError):  # a kernel without swap has no such file
            _write(self._path / "memory.swap.max", 0)

    def add(self, pid: int) -> None:
        """A process, and so all that it will start. Raises :class:`OSError`."""
        _write(self._path / "cgroup.procs", pid)

    def exceeded(self) -> tuple[str, float] | None:
        """Whether the kernel killed them, as :meth:`.usage.Usage.exceeded` says it."""
        try:
            events = (self._path / "memory.events").read_text().split()
        except OSError:
            return None
        killed = int(events[events.index("oom_kill") + 1])
        return ("memory", self._limit) if killed else None

    def remove(self) -> None:
        """Remove it once it is empty."""
        with contextlib.suppress(OSError):
            self._path.rmdir()


def make_group(parent: Path | None, limit: float | None) -> MemoryGroup | None:
    """None where there is no limit, or no group can be had."""
    if parent is None or limit is None:
        return None
    try:
        return MemoryGroup(parent, limit)
    except OSError:
        return None


def _write(file: Path, what: object) -> None:
    file.write_text(f"{what}\n", encoding="ascii")
