"""A file is replaced whole or left as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from exporter.util import atomic


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_content_is_replaced_and_private_unless_a_mode_says_otherwise(tmp_path: Path) -> None:
    """Neither the old file's mode nor the umask decides."""
    path = tmp_path / "report.md"
    path.write_text("old")
    path.chmod(0o644)
    atomic.write(path, "größer")
    assert path.read_text(encoding="utf-8") == "größer"
    assert mode_of(path) == 0o600
    before = os.umask(0o077)
    try:
        atomic.write(path, b"bytes", mode=0o644)
    finally:
        os.umask(before)
    assert path.read_bytes() == b"bytes"
    assert mode_of(path) == 0o644


def test_a_failure_half_way_leaves_the_old_content_and_no_litter(tmp_path: Path) -> None:
    """Whatever the block raises."""
    path = tmp_path / "state.json"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half-way"), atomic.replacing(path) as file:
        file.write(b"half")
        raise RuntimeError("half-way")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]


def test_what_a_dead_process_left_is_no_obstacle(tmp_path: Path) -> None:
    """Its pid may be ours today."""
    path = tmp_path / "token"
    (tmp_path / f".token.{os.getpid()}.part").write_text("left behind")
    atomic.write(path, "new")
    assert [each.name for each in tmp_path.iterdir()] == ["token"]


def test_it_is_on_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Content synced, then renamed, then the folder synced."""
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        steps.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    atomic.write(tmp_path / "report.md", "text")
    assert steps == ["file", "rename", "folder"]


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    """Making folders, and with which mode, is the caller's decision."""
    with pytest.raises(FileNotFoundError):
        atomic.write(tmp_path / "missing" / "file", "text")
