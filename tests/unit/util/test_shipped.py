"""Files that come with the exporter are found from a clone and from an installed package."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.util import shipped as module
from exporter.util.shipped import shipped


def test_a_clone_reads_its_own_files() -> None:
    """No copy can drift."""
    assert shipped("docs/runbook.md") == Path(__file__).parents[3] / "docs/runbook.md"


def test_an_installed_package_brings_them_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In ``share``, laid out as the source tree."""
    (tmp_path / "share").mkdir()
    monkeypatch.setattr(module, "_PACKAGE", tmp_path)
    assert shipped("docs/runbook.md") == tmp_path / "share/docs/runbook.md"
