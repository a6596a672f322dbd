"""Packages on the machine, with programs in apt's place that write down what they are asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "deploy/vps"))

import packages  # type: ignore[import-not-found]


def test_sources_are_asked_once_unless_there_are_others_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question takes seconds; a source that provision added has to be asked."""
    for name in ("apt-get", "dpkg", "dpkg-query"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho {name} $* >>{tmp_path}/asked\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=":")
    monkeypatch.setattr(packages, "_APT", tmp_path)
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb https://one.example.com stable main")

    def updates() -> int:
        return (tmp_path / "asked").read_text().count(" update")

    packages.Packages(["a"]).mend()
    packages.Packages(["b"]).mend()
    assert updates() == 1
    (tmp_path / "sources.list.d/more.list").write_text("deb https://two.example.com stable main")
    packages.Packages(["c"]).mend()
    assert updates() == 2
    assert (tmp_path / "asked").read_text().count(" install ") == 3
