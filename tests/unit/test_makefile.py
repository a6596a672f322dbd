"""The Makefile's own decisions, without installing anything."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A clone that was set up."""
    folder = tmp_path / "clone"
    (folder / ".venv/bin").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("requirements.lock", "pyproject.toml", ".venv/.runtime"):
        (folder / name).write_text("")
    (folder / ".venv/bin/pip").write_text(f"#!{folder}/.venv/bin/python3\n")
    return folder


def would_do(folder: Path, *goals: str) -> str:
    """What make would run."""
    return subprocess.run(
        ["make", "-n", *goals], cwd=folder, capture_output=True, text=True, check=True
    ).stdout


def test_an_environment_that_is_ready_is_left_alone(folder: Path) -> None:
    """Nothing to install; the config is written once."""
    assert "venv" not in would_do(folder, "setup")
    assert "quant-exporter init" in would_do(folder, "run")
    (folder / "exporter.yml").write_text("")
    assert "quant-exporter init" not in would_do(folder, "run")


def test_an_environment_is_made_again_after_the_folder_was_moved(folder: Path) -> None:
    """Its scripts name the old place."""
    moved = folder.rename(folder.with_name("moved"))
    assert "-m venv --clear .venv" in would_do(moved, "setup")
