"""Files of ours on the machine: what was there before is never lost, what is owed is done."""

from __future__ import annotations

import getpass
import grp
import os
import socket
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "deploy/vps"))

import desired  # type: ignore[import-not-found]
import taken  # type: ignore[import-not-found]
from desired import File, bring_about
from places import ProblemError  # type: ignore[import-not-found]

ME = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a file of ours goes; what was written is remembered beside."""
    monkeypatch.setattr(desired, "WRITTEN", tmp_path / "known/written.json")
    monkeypatch.setattr(desired, "_LEFT_OVER", tmp_path / "known/left-over")
    return tmp_path / "a.conf"


def test_what_was_there_before_ours_is_kept_beside(
    target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The user's, from before the first provision."""
    target.write_text("mine\n")
    assert bring_about([File(target, "ours\n", **ME)], dry_run=False) == 1
    assert "(yours is kept as a.conf.before-quant)" in capsys.readouterr().out
    assert target.read_text() == "ours\n"
    assert (target.parent / "a.conf.before-quant").read_text() == "mine\n"
    assert bring_about([File(target, "ours\n", **ME)], dry_run=False) == 0


def test_an_edit_of_ours_stays_and_a_newer_one_is_put_beside(target: Path) -> None:
    """Once."""
    bring_about([File(target, "ours\n", **ME)], dry_run=False)
    target.write_text("ours, edited\n")
    assert bring_about([File(target, "ours\n", **ME)], dry_run=False) == 0
    assert bring_about([File(target, "newer\n", **ME)], dry_run=False) == 1
    assert target.read_text() == "ours, edited\n"
    assert (target.parent / "a.conf.quant-new").read_text() == "newer\n"
    assert bring_about([File(target, "newer\n", **ME)], dry_run=False) == 0


def test_a_file_that_nobody_edited_is_replaced(target: Path) -> None:
    """And nothing is put beside."""
    bring_about([File(target, "ours\n", **ME)], dry_run=False)
    bring_about([File(target, "newer\n", **ME)], dry_run=False)
    assert target.read_text() == "newer\n"
    assert [p.name for p in target.parent.iterdir() if p.is_file()] == ["a.conf"]


def test_a_dry_run_writes_nothing(target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It only says."""
    assert bring_about([File(target, "ours\n", then=["false"], **ME)], dry_run=True) == 1
    assert capsys.readouterr().out == f"would write {target}\n"
    assert list(target.parent.iterdir()) == []


def test_what_was_cut_off_is_done_the_next_time(target: Path) -> None:
    """A file was changed, and the command that it needs was not reached, or failed."""
    made = target.with_name("made")
    with pytest.raises(ProblemError):
        bring_about([File(target, "ours\n", then=[f"cp {made} {made}.copy"], **ME)], dry_run=False)
    made.write_text("")
    assert bring_about([File(target, "ours\n", **ME)], dry_run=False) == 1
    assert made.with_name("made.copy").exists()
    assert bring_about([File(target, "ours\n", **ME)], dry_run=False) == 0


def test_a_port_that_is_taken_is_told_with_its_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours may have it, others may not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if not (there := taken.owner(port)):
            pytest.skip("ss is not installed here")
        monkeypatch.setattr(taken, "_OURS", {port: ("nginx",)})
        with pytest.raises(ProblemError, match=rf"port {port} is taken by {there}, and nginx"):
            taken.need_free_ports(with_servers=False, with_grafana=False, with_logs=False)
        monkeypatch.setattr(taken, "_OURS", {port: (there,)})
        taken.need_free_ports(with_servers=False, with_grafana=False, with_logs=False)
    assert taken.owner(port) is None


def test_a_unit_that_has_gone_is_owed_nothing(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provision that was cut off owed it a restart, and the next one takes its setting back. What
    fails otherwise still fails."""
    systemctl = tmp_path / "bin/systemctl"
    systemctl.parent.mkdir()
    monkeypatch.setenv("PATH", str(systemctl.parent), prepend=":")
    owed = tmp_path / "known/left-over"
    owed.parent.mkdir()
    for text, passes in (("Unit x.socket not found.", True), ("Job failed.", False)):
        systemctl.write_text(
            f"#!/bin/sh\necho 'Failed to try-restart x.socket: {text}' >&2; exit 5\n"
        )
        systemctl.chmod(0o755)
        owed.write_text("systemctl try-restart x.socket\n")
        if passes:
            bring_about([], dry_run=False)
        else:
            with pytest.raises(ProblemError, match="Job failed"):
                bring_about([], dry_run=False)
        assert owed.exists() is not passes
