"""Linux calls that keep process trees together, and no more imports than they need."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from typing import NamedTuple

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_CPU_AFTER_GROUP = slice(8, 12)
_RSS_AFTER_GROUP = 18
_START_AFTER_GROUP = 16
"""proc_pid_stat(5): the group is field 5, `utime` to `cstime` are 14 to 17, `starttime` is 22,
`rss` is 24."""

_libc = ctypes.CDLL(None, use_errno=True)


class ProcessInfo(NamedTuple):
    """One living process, as /proc shows it."""

    pid: int
    parent: int
    group: int
    name: str
    memory: int
    """Resident, in bytes; what processes share counts in each of them."""
    cpu: float
    """Seconds of CPU time, with those of children that have ended."""
    started: int
    """Ticks since the machine started: no two processes of one number have the same."""

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name}, of {_owner(self.pid)})"


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parents end: none slips away by forking twice."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wake_when_a_child_ends() -> tuple[int, int]:
    """A pipe, to be polled, whose first end becomes readable when a child has ended or another
    signal came."""
    wake_read, wake_write = os.pipe()
    for end in (wake_read, wake_write):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return wake_read, wake_write


def all_processes() -> list[ProcessInfo]:
    """Those that live now."""
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208  pathlib would be one more import
        if entry.isdigit():
            with (
                contextlib.suppress(OSError, ValueError, IndexError),
                open(f"/proc/{entry}/stat", "rb") as file,  # noqa: PTH123
            ):
                # The name in brackets may hold anything, so what follows the last one is read.
                start, _, rest = file.read().rpartition(b")")
                state, parent, group, *more = rest.split()
                if state not in (b"Z", b"X"):  # those have ended
                    name = start.partition(b"(")[2].decode("utf-8", "replace")
                    memory = int(more[_RSS_AFTER_GROUP]) * _PAGE_BYTES
                    cpu = sum(map(int, more[_CPU_AFTER_GROUP])) / _TICKS
                    begun = int(more[_START_AFTER_GROUP])
                    found.append(
                        ProcessInfo(int(entry), int(parent), int(group), name, memory, cpu, begun)
                    )
    return found


def descendants(root: int) -> list[ProcessInfo]:
    """All living processes below that one, nearest first. What has ended and still has living
    children is not in it, but its children are."""
    children: dict[int, list[ProcessInfo]] = {}
    for each in all_processes():
        children.setdefault(each.parent, []).append(each)
    found: list[ProcessInfo] = []
    level = [root]
    while level:
        below = [child for pid in level for child in children.get(pid, ())]
        found += below
        level = [child.pid for child in below]
    return found


def fair_memory(each: ProcessInfo) -> int:
    """Its resident bytes, where what several processes share is divided among them: a pool that
    reads the same table has it once. Takes longer the more there is."""
    with (
        contextlib.suppress(OSError, ValueError, IndexError),
        open(f"/proc/{each.pid}/smaps_rollup", "rb") as file,  # noqa: PTH123
    ):
        for line in file:
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return each.memory


def signal_each_once(root: int, group: int, number: int) -> None:
    """Signal everything below `root`: each process gets one signal, since many programs take a
    second SIGTERM for "leave now". `group` is signalled at once, so that none forks its way out."""
    below = descendants(root)
    if any(each.group == group for each in below):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
    for each in below:
        if each.group != group:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(each.pid, number)


def _owner(pid: int) -> str:
    try:
        user = os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116
    except OSError:
        return "nobody any more"
    try:
        import pwd

        return pwd.getpwuid(user).pw_name
    except (ImportError, KeyError):
        return f"user {user}"
