"""A crontab read for ``quant-exporter import crontab``: each line a task, or why it is not one.

As cron reads it: environment lines hold for those below them, ``\\%`` is a percent sign and ``%``
begins what the command reads; in a system's crontab a user follows the schedule.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

from exporter.cli.command_names import base_name
from exporter.config import schedule_syntax

_VARIABLE = re.compile(r"""([A-Za-z_]\w*)\s*=\s*(?:"([^"]*)"|'([^']*)'|(.*?))\s*""")
_ALIAS = re.compile(r"(@\w+)\s+(\S.*)")
_LINE = re.compile(r"((?:\S+\s+){4}\S+)\s+(\S.*)")
_USER = re.compile(r"([A-Za-z_][\w.-]*\$?)\s+(\S.*)")
_CRON_S_OWN = ("CRON_TZ", "MAILTO", "SHELL")


@dataclass(frozen=True)
class CronJob:
    """A line that can be a task."""

    number: int
    name: str
    schedule: str
    command: str
    """As the shell gets it."""
    stdin: str | None
    """What the command reads; None: nothing."""
    environment: tuple[tuple[str, str], ...]
    wrapped: str
    """The line to install."""


@dataclass(frozen=True)
class OtherLine:
    """A line that stays as it is; `why` is empty for what is not a job."""

    number: int
    text: str
    why: str = ""


def read_crontab(
    text: str, zone: str | None = None, *, has_users: bool = False, wrapper: str = "qexec"
) -> Iterator[CronJob | OtherLine]:
    """The lines in order. `zone` is that of the machine, where schedules should name it."""
    reader = _Reader(zone, has_users, wrapper)
    for number, line in enumerate(text.splitlines(), 1):
        yield reader.read(number, line)


@dataclass
class _Reader:
    """What the lines so far mean for those below them."""

    zone: str | None
    has_users: bool
    wrapper: str
    environment: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def read(self, number: int, line: str) -> CronJob | OtherLine:
        words = line.strip()
        variable = _VARIABLE.fullmatch(words)
        if not words or words.startswith("#"):
            return OtherLine(number, line)
        if variable:
            value = next((v for v in variable.groups()[1:] if v is not None), "")
            self.environment[variable[1]] = value
            return OtherLine(number, line)
        found = _ALIAS.fullmatch(words) or _LINE.fullmatch(words)
        if not found:
            return OtherLine(number, line, "neither a variable nor five fields and a command")
        when, rest, user = found[1], found[2], ""
        if self.has_users:
            split = _USER.fullmatch(rest)
            if not split:
                return OtherLine(number, line, "it names no user before its command")
            user, rest = f"{split[1]} ", split[2]
        return self._job(number, line, when, user, rest)

    def _job(self, number: int, line: str, when: str, user: str, rest: str) -> CronJob | OtherLine:
        zone = self.environment.get("CRON_TZ") or self.zone
        schedule = " ".join(when.split()) + (f" {zone}" if zone else "")
        try:
            schedule_syntax.parse(schedule)
        except ValueError as error:
            return OtherLine(number, line, str(error))
        own = re.escape(self.wrapper.rpartition("/")[2])
        if re.search(rf"(?:^|[/\s]){own}\s|quant-exporter exec", rest):
            return OtherLine(number, line, "it is wrapped already")
        command, stdin = _at_percent(rest)
        raw, percent, read = _split_raw(rest)
        name = _name(command, self.names)
        shell = shlex.quote(self.environment.get("SHELL", "/bin/sh"))
        wrapped = f"{when} {user}{self.wrapper} {name} -- {shell} -c {_quoted(raw)}{percent}{read}"
        kept = {n: v for n, v in self.environment.items() if n not in _CRON_S_OWN}
        return CronJob(number, name, schedule, command, stdin, tuple(kept.items()), wrapped)


def _quoted(raw: str) -> str:
    """For the shell; cron has not seen to ``\\%`` yet, so quotes may not be left out."""
    return "'" + raw.replace("'", "'\\''") + "'"


def _split_raw(rest: str) -> tuple[str, str, str]:
    found = re.search(r"(?<!\\)%", rest)
    return (rest[: found.start()].rstrip(), "%", rest[found.end() :]) if found else (rest, "", "")


def _at_percent(rest: str) -> tuple[str, str | None]:
    """The command, and what it reads: lines that ``%`` parts."""
    command, percent, read = _split_raw(rest)
    if not percent:
        return command.replace("\\%", "%"), None
    lines = re.sub(r"(?<!\\)%", "\n", read).replace("\\%", "%")
    return command.replace("\\%", "%"), f"{lines}\n"


def _name(command: str, taken: set[str]) -> str:
    """By the script or program that it runs; a number follows when another line has that name."""
    name = base_name(command)
    free = name
    number = 2
    while free in taken:
        free, number = f"{name[:58]}_{number}", number + 1
    taken.add(free)
    return free
