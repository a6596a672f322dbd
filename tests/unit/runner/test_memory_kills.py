"""What the kernel counts in a cgroup: files in a folder that looks like its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.runner.worker.memory_kills import MemoryKills

TWO = "low 0\nhigh 0\nmax 7\noom 1\noom_kill {}\noom_group_kill 0\n"
ONE = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
V1 = "9:cpu,cpuacct:/x\n4:memory:/docker/ab12\n0::/\n"
Kernel = Callable[[str, str, str, str], MemoryKills]


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    """A folder that looks like its own, in which a process was killed before."""

    def made(own: str, folder: str, text: str, limit: str) -> MemoryKills:
        (tmp_path / "own").write_text(own)
        group = tmp_path / folder
        group.mkdir(parents=True, exist_ok=True)
        (group / ("memory.events" if text == TWO else "memory.oom_control")).write_text(
            text.format(3)
        )
        name = "memory.max" if text == TWO else "memory.limit_in_bytes"
        (group / name).write_text(f"{limit}\n")
        return MemoryKills(tmp_path, tmp_path / "own")

    return made


@pytest.mark.parametrize(
    ("own", "folder", "text", "limit", "most"),
    [
        ("0::/\n", ".", TWO, "1073741824", 2.0**30),
        ("0::/system.slice/bot.service\n", "system.slice/bot.service", TWO, "max", 0.0),
        (V1, "memory", ONE, "1073741824", 2.0**30),
        (V1, "memory/docker/ab12", ONE, "9223372036854771712", 0.0),
    ],
    ids=["container", "service without a limit", "container of version 1", "seen from outside"],
)
def test_a_kill_is_seen_with_the_limit_of_the_group(
    tmp_path: Path, kernel: Kernel, own: str, folder: str, text: str, limit: str, most: float
) -> None:
    """Only one that came since: the counter never falls."""
    kills = kernel(own, folder, text, limit)
    assert kills.limit_if_any() is None
    for file in (tmp_path / folder).glob("memory.[eo]*"):
        file.write_text(text.format(4))
    assert kills.limit_if_any() == most


@pytest.mark.parametrize("own", ["", "nonsense\n", "0::/elsewhere\n", V1])
def test_where_nothing_counts_nothing_is_said(tmp_path: Path, own: str) -> None:
    """No cgroups at all, or a kernel that counts no kills."""
    (tmp_path / "own").write_text(own)
    assert MemoryKills(tmp_path, tmp_path / "own").limit_if_any() is None
