"""The rules' own tests, run by Prometheus' promtool."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "prometheus/tests").glob("*.yml"))

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed"),
]


def promtool(*arguments: object) -> str:
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_are_files() -> None:
    """No file would be no test."""
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_rules(file: Path) -> None:
    """Not yet, firing with exact labels and annotations, over."""
    assert "SUCCESS" in promtool("test", "rules", file)


def test_a_wrong_expectation_fails(tmp_path: Path) -> None:
    """promtool passes when `rule_files` matches nothing, so see one of our files fail."""
    text = (ROOT / "prometheus/tests/data_overdue.yml").read_text()
    text = text.replace("../rules", str(ROOT / "prometheus/rules"))
    (tmp_path / "t.yml").write_text(text.replace("severity: critical", "severity: info"))
    with pytest.raises(AssertionError, match="FAILED"):
        promtool("test", "rules", tmp_path / "t.yml")


def test_the_config_finds_the_rules() -> None:
    """`check config` accepts a glob that matches no file, so read what it found."""
    found = promtool("check", "config", ROOT / "prometheus/prometheus.yml")
    assert f"{len(list((ROOT / 'prometheus/rules').glob('*.yml')))} rule files found" in found
