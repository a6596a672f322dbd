"""A release's environment, made from that of another release."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "deploy/vps"))

import environment  # type: ignore[import-not-found]


@pytest.fixture
def releases(tmp_path: Path) -> tuple[Path, Path]:
    """One with a library and its command, and one that has no environment yet."""
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for folder in (theirs, ours):
        folder.mkdir()
        (folder / "requirements.lock").write_text("a==1\n")
    subprocess.run(["python3", "-m", "venv", "--without-pip", theirs / "venv"], check=True)
    [packages] = (theirs / "venv/lib").glob("python3*/site-packages")
    (packages / "library.py").write_text("WORD = 'here'\n")
    command = theirs / "venv/bin/say"
    command.write_text(f"#!{theirs}/venv/bin/python\nimport library\nprint(library.WORD)\n")
    command.chmod(0o755)
    return theirs, ours


def test_an_environment_is_lent_with_its_commands(releases: tuple[Path, Path]) -> None:
    """Libraries as hard links; a command runs by the new one's Python."""
    theirs, ours = releases
    environment.lend(theirs, ours)
    said = subprocess.run([ours / "venv/bin/say"], capture_output=True, text=True, check=True)
    assert said.stdout == "here\n"
    assert str(theirs) not in (ours / "venv/bin/say").read_text()
    assert os.access(ours / "venv/bin/say", os.X_OK)
    [library] = (ours / "venv/lib").rglob("library.py")
    assert library.stat().st_nlink == 2


def test_packages_of_the_trader_s_own_have_a_fingerprint_besides(
    releases: tuple[Path, Path],
) -> None:
    """So what the lock file names can come from a release without them."""
    theirs, ours = releases
    (ours / "requirements.txt").write_text("mine==1\n")
    assert environment.libraries(ours) != environment.libraries(theirs)
    assert environment.without_own(ours) == environment.libraries(theirs)
