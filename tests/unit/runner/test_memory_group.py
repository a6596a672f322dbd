"""Limits of memory by cgroups: files in a folder that looks like the kernel's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from exporter.runner.worker.memory_group import MemoryGroup, divide_own_group, make_group


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """A cgroup of this process alone, with a controller for memory."""
    group = tmp_path / "system.slice/programs"
    group.mkdir(parents=True)
    (group / "cgroup.controllers").write_text("memory pids\n")
    (group / "cgroup.procs").write_text(f"{os.getpid()}\n")
    (tmp_path / "own").write_text("9:name=systemd:/x\n0::/system.slice/programs\n")
    return tmp_path


def test_a_group_of_its_own_is_divided(kernel: Path) -> None:
    """The process itself goes into a leaf, where the kernel wants it."""
    group = divide_own_group(kernel, kernel / "own")
    assert group == kernel / "system.slice/programs"
    assert (group / "helper/cgroup.procs").read_text() == f"{os.getpid()}\n"
    assert (group / "cgroup.subtree_control").read_text() == "+memory\n"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("system.slice/programs/cgroup.controllers", "cpu pids\n"),
        ("system.slice/programs/cgroup.procs", f"{os.getpid()}\n1\n"),
        ("own", "4:memory:/x\n"),
        ("own", "0::/elsewhere\n"),
    ],
    ids=["no memory", "not alone", "version 1", "not to be seen"],
)
def test_where_systemd_gives_none_nothing_is_touched(kernel: Path, file: str, text: str) -> None:
    """A shell's or a container's cgroup is not ours to divide."""
    (kernel / file).write_text(text)
    before = sorted(kernel.rglob("*"))
    assert divide_own_group(kernel, kernel / "own") is None
    assert sorted(kernel.rglob("*")) == before


def test_a_refused_division_leaves_the_process_where_it_was(kernel: Path) -> None:
    """A folder stands for the kernel's refusal."""
    group = kernel / "system.slice/programs"
    (group / "cgroup.subtree_control").mkdir()
    assert divide_own_group(kernel, kernel / "own") is None
    assert (group / "cgroup.procs").read_text() == f"{os.getpid()}\n"


def test_an_attempt_s_group_has_its_limit_and_says_when_it_was_killed(tmp_path: Path) -> None:
    """All of its processes at once, and swap does not help."""
    group = MemoryGroup(tmp_path, 1e9)
    (folder,) = tmp_path.iterdir()
    group.add(7)
    written = {file.name: file.read_text() for file in folder.iterdir()}
    assert written == {
        "memory.max": "1000000000\n", "memory.oom.group": "1\n", "memory.swap.max": "0\n",
        "cgroup.procs": "7\n",
    }  # fmt: skip
    assert group.exceeded() is None
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 0\n")
    assert group.exceeded() is None
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 3\n")
    assert group.exceeded() == ("memory", 1e9)


def test_without_a_group_to_divide_or_a_limit_there_is_none(tmp_path: Path) -> None:
    """And where the kernel refuses one."""
    assert make_group(None, 1e9) is None
    assert make_group(tmp_path, None) is None
    assert make_group(tmp_path / "missing", 1e9) is None
