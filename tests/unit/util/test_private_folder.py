"""Folders for what is the owner's alone."""

from __future__ import annotations

import stat
from pathlib import Path

from exporter.tasks.builtin import report
from exporter.util.atomic import private_folder
from tests.records import records


def test_a_new_folder_is_its_owners_alone(tmp_path: Path) -> None:
    """One that is there keeps what its owner chose."""
    private_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
    (tmp_path / "a/b").chmod(0o750)
    private_folder(tmp_path / "a/b")
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o750


async def test_reports_and_digests_are_their_owners_alone(tmp_path: Path) -> None:
    """They tell what somebody owns."""
    report.write(tmp_path / "reports", "day", "text", {})
    async with records(tmp_path / "other"):
        pass
    made = [*(tmp_path / "reports").iterdir(), *(tmp_path / "other/reports").iterdir()]
    assert len(made) == 5
    assert {stat.S_IMODE(file.stat().st_mode) for file in made} == {0o600}
    for folder in ("reports", "other/reports"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700
