"""Linux calls that keep process trees together, and no more imports than they need."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that forked it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parents end: none slips away by forking twice."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def parents() -> dict[int, int]:
    """Each process's parent, as /proc tells it now."""
    found = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208  pathlib would be one more import
        if entry.isdigit():
            with (
                contextlib.suppress(OSError, ValueError, IndexError),
                open(f"/proc/{entry}/stat", "rb") as file,  # noqa: PTH123
            ):
                # The name in brackets may hold anything, so what follows the last one is read.
                found[int(entry)] = int(file.read().rpartition(b")")[2].split()[1])
    return found


def descendants(roots: set[int]) -> list[int]:
    """All processes below those, not themselves, nearest first."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    level = list(roots)
    while level:
        level = [child for pid in level for child in children.get(pid, ())]
        found += level
    return found


def signal_tree(root: int, number: int) -> None:
    """Signal a process, its group, and everything below it, also what left the group."""
    below = descendants({root})
    for send, pid in ((os.killpg, root), *((os.kill, pid) for pid in [root, *below])):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            send(pid, number)
