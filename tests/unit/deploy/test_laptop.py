"""What is said on the laptop when a deploy cannot even begin."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paramiko
import pytest
from fabric import Connection
from invoke.exceptions import Exit

sys.path.append(str(Path(__file__).resolve().parents[3] / "deploy"))

import committed  # type: ignore[import-not-found]
import machine  # type: ignore[import-not-found]

NOBODY = ("-c", "user.name=T", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main")
_KEY = paramiko.RSAKey.generate(1024)


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", folder, *NOBODY, *arguments], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file, which is no repository yet."""
    monkeypatch.setattr(committed, "REPOSITORY", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "exporter.yml").write_text("tasks: {}\n")
    return tmp_path


def refusal(call: object) -> str:
    with pytest.raises(Exit) as refused:
        call()  # type: ignore[operator]
    assert refused.value.code == 1
    return str(refused.value.message)


def test_a_copy_without_git(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Says what to do instead."""
    assert "git init && git add --all && git commit" in refusal(committed.version)
    assert "git says: fatal: not a git repository" in capsys.readouterr().err


def test_a_repository_without_a_commit(project: Path) -> None:
    """There is no version yet."""
    git(project, "init")
    assert "a version is a commit" in refusal(committed.version)


def test_a_computer_without_git(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Says so."""
    monkeypatch.setenv("PATH", str(project))
    assert "git is not installed" in refusal(committed.version)


def test_a_config_that_is_not_in_git(project: Path) -> None:
    """A clone starts without one; the VPS could not run."""
    git(project, "init")
    git(project, "commit", "--allow-empty", "-m", "first")
    assert "exporter.yml is not in git" in refusal(committed.version)


def test_changes_that_are_not_committed(project: Path) -> None:
    """Are named."""
    git(project, "init")
    git(project, "add", "--all")
    git(project, "commit", "-m", "first")
    (project / "exporter.yml").write_text("tasks: {a: {}}\n")
    assert " M exporter.yml" in refusal(committed.version)


def test_what_only_people_need_is_not_sent(project: Path) -> None:
    """The guide's pictures are most of the project."""
    for name in ("docs/guide/pictures/well.png", "docs/runbook.md", "strategies/mine.py"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("")
    git(project, "init")
    git(project, "add", "--all")
    git(project, "commit", "-m", "all")
    with tarfile.open(fileobj=io.BytesIO(committed.archive())) as archive:
        files = {member.name for member in archive if member.isfile()}
    assert files == {"exporter.yml", "docs/runbook.md", "strategies/mine.py"}
    assert committed.own_file("known") == project / ".git/known"


def test_files_that_git_does_not_know(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stay here, which is said; what is committed has a version of time and hash."""
    git(project, "init")
    git(project, "add", "--all")
    git(project, "commit", "-m", "first")
    for number in range(7):
        (project / f"new{number}.py").write_text("")
    assert len(committed.version().split("-")) == 3
    assert capsys.readouterr().out == (
        "not in git, so not deployed: new0.py, new1.py, new2.py, new3.py, new4.py and 2 more\n"
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (socket.gaierror(-2, "unknown"), "vps: no such machine; name it in ~/.ssh/config"),
        (TimeoutError("timed out"), "vps:2222 does not answer (timed out). Is this computer"),
        (
            paramiko.ssh_exception.NoValidConnectionsError(
                {("10.0.0.1", 2222): ConnectionRefusedError("refused")}
            ),
            "vps:2222 does not answer (refused). Is this computer online",
        ),
        (paramiko.AuthenticationException(), "vps:2222 does not let me in with the keys"),
        (paramiko.PasswordRequiredException(), "hand it to the agent first: ssh-add"),
        (
            paramiko.SSHException("Server 'vps' not found in known_hosts"),
            "ssh vps, compare the fingerprint",
        ),
        (
            paramiko.BadHostKeyException(
                "vps", paramiko.RSAKey.generate(1024), paramiko.RSAKey.generate(1024)
            ),
            "ssh-keygen -R '[vps]:2222'",
        ),
    ],
)
def test_a_connection_that_does_not_come_about(error: Exception, said: str) -> None:
    """Has a sentence of its own, and what to do."""
    assert said in machine._why_not(Connection("vps", user="me", port=2222), error)


def test_a_machine_that_does_not_listen() -> None:
    """Nothing is sent, and no traceback is shown."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    nowhere = Connection("127.0.0.1", user="me", port=port)
    assert "does not answer" in refusal(lambda: machine._open(nowhere))


DEBIAN = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'


def seen(*found: str, system: str = DEBIAN, ahead: float = 0.0, user: str = "me") -> Any:
    """A connection to a machine that answers like that."""
    out = "\n".join([system, f"now={time.time() + ahead:.0f}", *found])
    return SimpleNamespace(
        user=user, host="vps", run=lambda *_, **__: SimpleNamespace(stdout=f"{out}\n")
    )


def test_a_machine_that_will_do(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is said."""
    machine._look_around(seen("python", "root"))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("connection", "said"),
    [
        (seen("python"), "refused: me may not use sudo without a password on vps"),
        (seen("root"), "refused: vps has no python3"),
        (seen("python", "root", system="ID=alpine\n"), "refused: this machine runs alpine; "),
    ],
)
def test_a_machine_that_will_not_do(connection: Any, said: str) -> None:
    """Before anything is sent."""
    assert said in refusal(lambda: machine._look_around(connection))


@pytest.mark.parametrize(("ahead", "word"), [(300, " s ahead of this"), (-60, " s behind this")])
def test_a_clock_that_is_wrong_is_said(
    ahead: float, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The machine's, or this computer's: tasks run by the machine's."""
    machine._look_around(seen("python", "root", ahead=ahead))
    said = capsys.readouterr().out
    assert "the clock of vps is" in said
    assert word in said
