"""A machine described by what should be there: each thing says whether it differs and mends itself.

Files that the user edited since provision wrote them are kept: ours is put beside, and said.
"""

from __future__ import annotations

import contextlib
import difflib
import grp
import hashlib
import json
import pwd
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from places import WRITTEN, ProblemError
from shell import attempt, is_active, run, say, shows, tail

_LEFT_OVER = WRITTEN.with_name("left-over")


class Thing(Protocol):
    """Something that should be so."""

    def difference(self) -> str | None:
        """What is not as it should be, or None."""

    def mend(self) -> None:
        """Make it so."""


@dataclass
class Step:
    """A thing that is checked and made by two functions."""

    wrong: Callable[[], str | None]
    make: Callable[[], object]

    def difference(self) -> str | None:
        return self.wrong()

    def mend(self) -> None:
        self.make()


@dataclass
class User:
    """A user of the system without a login."""

    name: str
    home: Path

    def difference(self) -> str | None:
        with contextlib.suppress(KeyError):
            pwd.getpwnam(self.name)
            return None
        return f"create user {self.name}"

    def mend(self) -> None:
        run(
            "useradd", "--system", "--user-group", "--no-create-home", "--home-dir", self.home,
            "--shell", "/usr/sbin/nologin", self.name,
        )  # fmt: skip


@dataclass
class Folder:
    """A directory with its owner and mode."""

    path: Path
    owner: str = "root"
    group: str = "root"
    mode: int = 0o755

    def difference(self) -> str | None:
        if not self.path.is_dir():
            return f"create {self.path}/"
        return _access(self.path, self.owner, self.group, self.mode)

    def mend(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        shutil.chown(self.path, self.owner, self.group)
        self.path.chmod(self.mode)


@dataclass
class File:
    """A file of ours, and what has to happen when it changed."""

    path: Path
    text: str
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    then: list[str] = field(default_factory=list)
    kept: bool = False
    foreign: bool = False
    """Whether there is one that was not written by us, an edit of the user's or Debian's own."""

    def difference(self) -> str | None:
        if not self.path.exists():
            return f"write {self.path}"
        there = self.path.read_text(errors="replace")
        if there == self.text:
            return _access(self.path, self.owner, self.group, self.mode)
        last = _written().get(str(self.path))
        if last is not None and last != _digest(there):
            self.kept = True
            beside = self.path.with_name(self.path.name + ".quant-new")
            if last == _digest(self.text) or (beside.exists() and beside.read_text() == self.text):
                return None
            return f"keep your edit of {self.path}, put ours beside it as {beside.name}"
        self.foreign = last is None
        lines = difflib.unified_diff(
            there.splitlines(), self.text.splitlines(), "now", "then", lineterm="", n=1
        )
        kept = f" (yours is kept as {self._aside().name})" if self.foreign else ""
        return "\n    ".join([f"change {self.path}{kept}", *lines])

    def _aside(self) -> Path:
        return self.path.with_name(self.path.name + ".before-quant")

    def mend(self) -> None:
        target = self.path.with_name(self.path.name + ".quant-new") if self.kept else self.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.foreign:
            shutil.copy2(self.path, self._aside())
        draft = target.with_name(f".{target.name}.draft")
        draft.write_text(self.text)
        shutil.chown(draft, self.owner, self.group)
        draft.chmod(self.mode)
        draft.replace(target)
        if not self.kept:
            written = _written() | {str(self.path): _digest(self.text)}
            WRITTEN.parent.mkdir(parents=True, exist_ok=True)
            _remember(written)


@dataclass
class Disabled:
    """A unit that neither runs nor starts with the machine; one that is not installed is so."""

    unit: str

    def difference(self) -> str | None:
        enabled = attempt("systemctl", "is-enabled", "--quiet", self.unit).returncode == 0
        return f"stop and disable {self.unit}" if enabled or is_active(self.unit) else None

    def mend(self) -> None:
        run("systemctl", "disable", "--now", "--quiet", self.unit)


@dataclass
class Link:
    """A symbolic link, and what has to happen when it changed."""

    path: Path
    target: Path
    then: list[str] = field(default_factory=list)

    def difference(self) -> str | None:
        right = self.path.is_symlink() and self.path.readlink() == self.target
        return None if right else f"link {self.path} to {self.target}"

    def mend(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(self.target)


@dataclass
class Gone:
    """A file that is not there, and what has to happen when it was."""

    path: Path
    then: list[str] = field(default_factory=list)

    def difference(self) -> str | None:
        return f"remove {self.path}" if self.path.exists() or self.path.is_symlink() else None

    def mend(self) -> None:
        self.path.unlink()
        written = {path: digest for path, digest in _written().items() if path != str(self.path)}
        if WRITTEN.exists():
            _remember(written)


@dataclass
class Enabled:
    """A unit that starts with the machine, and runs now unless said otherwise."""

    unit: str
    now: bool = True

    def difference(self) -> str | None:
        if attempt("systemctl", "is-enabled", "--quiet", self.unit).returncode:
            return f"enable {self.unit}"
        if self.now and not is_active(self.unit) and not self._does_without():
            return f"start {self.unit}"
        return None

    def _does_without(self) -> bool:
        """Whether systemd saw that it has no place here: time synchronisation in a container."""
        seen = shows(self.unit, "ConditionTimestampMonotonic", "ConditionResult")
        looked = seen.get("ConditionTimestampMonotonic", "0") != "0"
        return looked and seen.get("ConditionResult") == "no"

    def mend(self) -> None:
        run("systemctl", "daemon-reload")
        run("systemctl", "enable", "--quiet", self.unit)
        if self.now and attempt("systemctl", "start", self.unit).returncode:
            said = attempt("journalctl", "-u", self.unit, "-n", "10", "-o", "cat", "--no-pager")
            raise ProblemError(f"{self.unit} does not start:\n{tail(said)}")


def bring_about(things: list[Thing], *, dry_run: bool) -> int:
    """Mend what differs, in order, and say it; how many things did."""
    after = dict.fromkeys(_left_over())
    changes = len(after)
    for thing in things:
        if not (difference := thing.difference()):
            continue
        changes += 1
        say(f"{'would ' if dry_run else ''}{difference}")
        if not dry_run:
            if isinstance(thing, (Gone, Link)) or (isinstance(thing, File) and not thing.kept):
                after |= dict.fromkeys(thing.then)
                _leave(after)
            thing.mend()
    for command in [] if dry_run else after:
        say(command)
        _catch_up(command)
    if not dry_run:
        _LEFT_OVER.unlink(missing_ok=True)
    return changes


def _catch_up(command: str) -> None:
    """Run it. A unit that has gone since a provision was cut off is owed nothing."""
    done = attempt(*command.split())
    if done.returncode and not re.search(r"Unit \S+ not (found|loaded)", done.stderr):
        raise ProblemError(f"{command} failed ({done.returncode}):\n{tail(done)}")


def _left_over() -> list[str]:
    """Commands that a provision which was cut off owes to files that it had changed."""
    return _LEFT_OVER.read_text().splitlines() if _LEFT_OVER.exists() else []


def _leave(commands: Iterable[str]) -> None:
    _LEFT_OVER.parent.mkdir(parents=True, exist_ok=True)
    _LEFT_OVER.write_text("".join(f"{command}\n" for command in commands))


def _written() -> dict[str, str]:
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads(WRITTEN.read_text()))
    return {}


def _remember(written: dict[str, str]) -> None:
    draft = WRITTEN.with_suffix(".draft")  # a full disk must not leave half of it
    draft.write_text(json.dumps(written, indent=1))
    draft.replace(WRITTEN)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _access(path: Path, owner: str, group: str, mode: int) -> str | None:
    there = path.stat()
    with contextlib.suppress(KeyError):
        now = pwd.getpwuid(there.st_uid).pw_name, grp.getgrgid(there.st_gid).gr_name
        if (*now, there.st_mode & 0o7777) == (owner, group, mode):
            return None
    return f"make {path} {owner}:{group} {mode:o}"


def tried_again(unit: str = "") -> str:
    """A drop-in: when a start fails, also the first after a boot, the next comes, however many
    failed. `unit` is what else its first section says."""
    return (
        "# Written by quant-exporter's provision: a start that fails is tried again.\n"
        f"[Unit]\n{unit}StartLimitIntervalSec=0\n[Service]\nRestart=on-failure\nRestartSec=3\n"
    )


def guarded(path: Path, text: str, group: str) -> None:
    """Write a file that only root and one group may read."""
    File(path, text, mode=0o640, group=group).mend()
