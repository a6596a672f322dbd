"""``quant-exporter init`` writes a folder that works, and never overwrites."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.cli.init import init
from exporter.config import load


def test_the_folder_is_complete_and_its_config_is_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything that a user edits is there; what to do next is said."""
    folder = tmp_path / "quant"
    assert init(folder=folder) == 0
    config = load(folder / "exporter.yml")
    assert config.strategies["paper"].max_drawdown == {"warning": 0.05}
    for name in (
        "strategies/paper.py", "prometheus/prometheus.yml", "prometheus/rules/quant.yml",
        "alerting/alertmanager.yml", "alerting/templates/quant.tmpl",
        "grafana/dashboards/quant-overview.json",
    ):  # fmt: skip
        assert (folder / name).is_file(), name
    said = capsys.readouterr().out
    assert f"  cd {folder}\n" in said
    assert "pre_market_scan:    critical: phone and chat after 1 failed run, at the latest " in said


def test_what_is_there_stays_and_a_newer_version_of_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So it can be run again after an upgrade, to see what changed."""
    init(folder=tmp_path)
    (tmp_path / "exporter.yml").write_text("# mine\n")
    (tmp_path / "strategies/paper.py").unlink()
    capsys.readouterr()
    assert init(folder=tmp_path) == 0
    said = capsys.readouterr().out
    assert (tmp_path / "exporter.yml").read_text() == "# mine\n"
    assert (tmp_path / "strategies/paper.py").is_file()
    assert "this version's differ: exporter.yml\n" in said


def test_a_folder_that_is_a_file_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback."""
    (tmp_path / "quant").write_text("")
    assert init(folder=tmp_path / "quant") == 1
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'quant'} is a file")
