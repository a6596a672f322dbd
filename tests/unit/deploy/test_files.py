"""What deploys: it runs on old Pythons far enough to refuse them, and pins what it takes."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[3]
DEPLOY = PROJECT / "deploy"
sys.path.append(str(DEPLOY / "vps"))

import backoff  # type: ignore[import-not-found]  # noqa: E402
from places import ProblemError  # type: ignore[import-not-found]  # noqa: E402
from systems import need_a_system_we_know  # type: ignore[import-not-found]  # noqa: E402

_WORKFLOW = DEPLOY / "workflow/deploy.yml"


@pytest.mark.parametrize(
    "release",
    [
        'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"',
        'ID=debian\nVERSION_ID="13"',
        "ID=debian\nPRETTY_NAME=testing",
        "ID=ubuntu\nVERSION_ID='24.04'",
        'ID=ubuntu\nVERSION_ID="26.04"',
    ],
)
def test_a_system_that_is_new_enough_is_taken(release: str) -> None:
    """Debian 12, Ubuntu 24.04, and what follows."""
    need_a_system_we_know(release)


@pytest.mark.parametrize(
    "release",
    [
        'ID=ubuntu\nVERSION_ID="22.04"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"',
        'ID=debian\nVERSION_ID="11"\nPRETTY_NAME="Debian GNU/Linux 11 (bullseye)"',
        'ID=fedora\nVERSION_ID="41"\nPRETTY_NAME="Fedora Linux 41"',
        "ID=ubuntu\nVERSION_ID=rolling\nPRETTY_NAME=Rhino",
        "",
    ],
)
def test_a_system_that_will_not_do_is_refused_with_a_sentence(release: str) -> None:
    """It says what this is, and what would do."""
    named = re.search('PRETTY_NAME="?([^"\n]+)', release)
    with pytest.raises(ProblemError) as refused:
        need_a_system_we_know(release)
    said = str(refused.value)
    assert f"this machine runs {named[1] if named else 'an unknown system'}; " in said
    assert "needs Debian 12 or newer or Ubuntu 24.04 or newer" in said


@pytest.mark.parametrize("name", sorted(p.name for p in (DEPLOY / "vps").glob("*.py")))
def test_an_old_python_can_read_what_runs_on_the_machine(name: str) -> None:
    """Debian 11's 3.9 gets as far as saying that it is too old."""
    ast.parse((DEPLOY / "vps" / name).read_text(), feature_version=(3, 9))


def test_each_start_within_ten_minutes_waits_longer() -> None:
    """And the start limit comes after the longest wait."""
    now = 10_000.0
    starts = [now - 590 + 100 * n for n in range(5)]
    waits = [backoff.wait_before(starts[:count], now) for count in range(6)]
    assert waits == [0, 2, 5, 15, 45, 45]
    assert backoff.wait_before([now - 601], now) == 0
    assert sum(waits[:5]) < backoff.WINDOW_SECONDS
    unit = (DEPLOY / "systemd/quant-exporter.service").read_text()
    assert f"StartLimitIntervalSec={backoff.WINDOW_SECONDS / 60:.0f}min" in unit
    assert f"StartLimitBurst={len(backoff.WAITS)}" in unit


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed here")
@pytest.mark.parametrize(
    "unit", sorted((DEPLOY / "systemd").glob("*.service")), ids=lambda p: p.stem
)
def test_a_unit_is_hardened(unit: Path) -> None:
    """An exposure under 2.0, as systemd-analyze counts it without starting anything, and no core
    dump."""
    told = subprocess.run(
        ["systemd-analyze", "security", "--no-pager", "--offline=true", unit],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    match = re.search(r"exposure level for \S+: ([\d.]+)", told.stdout)
    assert match, told
    assert float(match[1]) < 2.0
    assert "\nLimitCORE=0\n" in unit.read_text()


def test_the_workflow_is_one() -> None:
    """GitHub's own schema."""
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows",
         _WORKFLOW],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout


def test_the_workflow_pins_what_it_takes_and_asks_for_little() -> None:
    """Actions by a whole commit with its version beside it, reading rights, a protected
    environment, and no host key that is accepted unseen."""
    text = _WORKFLOW.read_text()
    uses = re.findall(r"uses: (.+)", text)
    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action), action
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in workflow["jobs"].values())
    deploy = workflow["jobs"]["deploy"]
    assert deploy["environment"] == "vps"
    assert deploy["needs"] == ["test", "build"]
    assert "StrictHostKeyChecking" not in text
    assert not re.search(r"run:.*\$\{\{", text), "values go through env, not into a script's text"
    assert "pull_request" not in text


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        (["deploy", "ARGS=--now"], "deploy --now"),
        (["rollback", "VERSION=20260101-000000-abc"], "rollback --version 20260101-000000-abc"),
        (["secret", "NAME=TICKDB_API_KEY"], "secret --name TICKDB_API_KEY"),
        (["restore", "FILE=backups/x.tar.gz"], "restore --file backups/x.tar.gz"),
    ],
)
def test_make_runs_the_command(typed: list[str], command: str) -> None:
    """`make deploy HOST=vps` is `fab deploy` on that host."""
    said = subprocess.run(
        ["make", "-n", "-C", PROJECT, "HOST=vps", *typed],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert f".venv/bin/fab --search-root deploy --hosts vps {command}" in lines


def test_make_asks_which_machine() -> None:
    """Without HOST there is no default to hit by mistake."""
    said = subprocess.run(
        ["make", "-n", "-C", PROJECT, "deploy"], capture_output=True, text=True, check=False
    )
    assert said.returncode != 0
    assert "say which machine: make deploy HOST=vps" in said.stderr
