"""What a task is called that runs a command line."""

from __future__ import annotations

import re
import shlex

from exporter.config.types import NAME

LAUNCHERS = frozenset(
    """
    bash cd chronic command dash doas env exec flock ionice java julia ksh lua nice node nohup npm
    npx perl php pipenv poetry Rscript ruby run-one runuser setsid sh stdbuf su sudo taskset time
    timeout uv zsh
    """.split()  # noqa: SIM905 - forty quoted names read worse
)
SCRIPT = re.compile(r"\.(?:py|sh|bash|js|mjs|ts|rb|pl|php|r|jl|jar|lua)$", re.IGNORECASE)


def base_name(command: str) -> str:
    """A task's name for a command line: its script, module or program."""
    command = re.sub(r"\s#.*", "", command)
    first = re.split(r"[|;>]", command.rpartition("&&")[2], maxsplit=1)[0]
    try:
        words = shlex.split(first, comments=False)
    except ValueError:
        words = first.split()
    words = [word for one in words for word in (one.split() if " " in one else [one])]
    words = [word.strip("'\"") for word in words]
    programs = [word.rpartition("/")[2] for word in words if not _is_setting(word)]
    scripts = [word for word in programs if SCRIPT.search(word)]
    module = re.search(r"\s-m\s+([\w.]+)", command)
    others = [
        word for word in programs
        if word not in LAUNCHERS and not re.match(r"python[\d.]*$", word)
    ]  # fmt: skip
    found = (scripts[:1] or ([module[1]] if module else []) or others[:1] or ["job"])[0]
    name = re.sub(r"[^a-z0-9]+", "_", SCRIPT.sub("", found).lower()).strip("_")[:60]
    return name if NAME.fullmatch(name) else f"job_{name}".rstrip("_")


def _is_setting(word: str) -> bool:
    """An option, an assignment or a number: not a program."""
    return bool(re.match(r"-|\w+=|\d+(?:\.\d+)?[smhd]?$|[\[\](){}!]", word))
