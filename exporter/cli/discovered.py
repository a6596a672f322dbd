"""What ``quant-exporter discover`` found, whatever it is, and what it sees of a machine."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from exporter.cli.command_names import SCRIPT
from exporter.redaction.secret_patterns import masked

_PATH = re.compile(r"(?:~|\.{1,2})?/[\w.@+/-]*")
_LONGEST = 160
_WATCHED = re.compile(
    r"quant-exporter\s+exec|\bqexec\b|/ping/|\brunitor\b|\bcronitor\b|hc-ping\.com|healthchecks"
)


@dataclass(frozen=True)
class Unwatched:
    """Something that runs here and that nobody watches."""

    name: str
    task: str
    """Its section for exporter.yml, on one line; empty where there is nothing to offer."""
    what: str
    """Where it was found, and what it runs."""
    why: str
    """Why nobody watches it, and what to do."""


@dataclass
class Findings:
    """All that one look found, and what it could not see."""

    found: list[Unwatched] = field(default_factory=list)
    watched: list[str] = field(default_factory=list)
    packaged: list[str] = field(default_factory=list)
    """What packages of the system brought along."""
    unseen: list[str] = field(default_factory=list)
    """Places that could not be read, and why."""

    def renamed(self, taken: Iterable[str]) -> list[Unwatched]:
        """With a name of its own for each, next to those that are taken."""
        used, named = set(taken), []
        for one in self.found:
            name, number = one.name, 2
            while name in used:
                name, number = f"{one.name[:56]}_{number}", number + 1
            used.add(name)
            named.append(replace(one, name=name))
        return named


def run_program(*command: str) -> tuple[int, str, str]:
    """Exit status, output and errors; 127 where there is no such program."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=15,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError:
        return 127, "", f"there is no {command[0]}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return 126, "", f"cannot run {command[0]}: {error}"
    return done.returncode, done.stdout, done.stderr.strip()


@dataclass(frozen=True)
class ThisMachine:
    """The machine that is looked at: its files, and programs that know more."""

    root: Path = Path("/")
    run: Callable[..., tuple[int, str, str]] = run_program
    uid: int = 0
    watched_units: Collection[str] = ()
    """Services that tasks name already."""

    def packaged(self, paths: Collection[str]) -> set[str]:
        """Those of the files that a package of the system brought along."""
        if not paths:
            return set()
        _, out, _ = self.run("dpkg-query", "--search", *sorted(paths))
        return {line.partition(": ")[2] for line in out.splitlines()} & set(paths)


def is_watched(command: str) -> bool:
    """Whether a command line reports to us or to another service of the kind."""
    return bool(_WATCHED.search(command))


def shown_command(command: str) -> str:
    """A command line without the values of its arguments, any of which may be a secret: programs,
    paths and names of options stay."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    shown = [_shown(word, first=not n) for n, word in enumerate(words)]
    text = re.sub(r"(?:… ?){2,}", "… ", masked(" ".join(shown))).strip()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _shown(word: str, *, first: bool) -> str:
    if (
        word in ("&&", "||", "|", ";", ">", ">>")
        or _PATH.fullmatch(word)
        or (SCRIPT.search(word) and re.fullmatch(r"[\w.+/-]+", word))
    ):
        return word
    if found := re.match(r"--[a-zA-Z][\w-]*", word):
        return found[0]
    if re.match(r"-[a-zA-Z]", word):
        return word[:2]
    return word if first and re.fullmatch(r"[@\w.+-]+", word) else "…"
