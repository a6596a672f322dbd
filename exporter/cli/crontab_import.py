"""A crontab read for ``quant-exporter import crontab``: each line a task, or why it is not one.

As cron reads it: environment lines hold for those below them, ``\\%`` is a percent sign and ``%``
begins what the command reads; in a system's crontab a user follows the schedule. What some crons
add is read, too: ``-`` before the minute, ``-ns`` before the command, ``~`` and RANDOM_DELAY.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

from exporter.cli.command_names import base_name
from exporter.config import schedule_syntax

_VARIABLE = re.compile(r"""(["']?)([A-Za-z_]\w*)\1\s*=\s*(?:"([^"]*)"|'([^']*)'|(.*?))\s*""")
_ALIAS = re.compile(r"(@\w+)\s+(\S.*)")
_LINE = re.compile(r"((?:\S+\s+){4}\S+)\s+(\S.*)")
_USER = re.compile(r"([A-Za-z_][\w.-]*\$?(?:[:/][\w.:/-]+)?)\s+(\S.*)")
"""FreeBSD's may name a group and a login class, too."""
_FLAGS = re.compile(r"((?:-[nqs]+\s+)+)(\S.*)")
"""OpenBSD's cron takes them before the command."""
_CRON_S_OWN = (
    "CONTENT_TRANSFER_ENCODING", "CONTENT_TYPE", "CRON_TZ", "MAILFROM", "MAILTO", "RANDOM_DELAY",
    "SHELL",
)  # fmt: skip
_SIZES = ((0, 60), (0, 24), (1, 31), (1, 12), (0, 7))
"""Of each field: its first value, and how many it has."""
_LONGEST = 998
"""Characters of a command in Debian's cron."""


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
    shell: str
    user: str
    """As whom it runs; empty: as the one whose crontab it is."""
    late: float
    """How many seconds after its time cron may start it."""
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
    # Only a line feed ends a line of cron's; other breaks may be within a command.
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
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
        words = line.strip(" \t\r")
        variable = _VARIABLE.fullmatch(words)
        if not words or words.startswith("#"):
            return OtherLine(number, line)
        if variable:
            value = next((v for v in variable.groups()[2:] if v is not None), "")
            self.environment[variable[2]] = value
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
        try:
            settled, late = _settled(when)
            schedule = settled + (f" {zone}" if zone else "")
            schedule_syntax.parse(schedule)
        except ValueError as error:
            return OtherLine(number, line, str(error))
        own = re.escape(self.wrapper.rpartition("/")[2])
        if re.search(rf"(?:^|[/\s]){own}\s|quant-exporter exec", rest):
            return OtherLine(number, line, "it is wrapped already")
        has_flags = _FLAGS.fullmatch(rest)
        flags, rest = (has_flags[1], has_flags[2]) if has_flags else ("", rest)
        command, stdin = _at_percent(rest)
        raw, percent, read = _split_raw(rest)
        name = _name(command, self.names)
        shell = self.environment.get("SHELL", "/bin/sh")
        wrapped = f"{self.wrapper} {name} -- {shlex.quote(shell)} -c {_quoted(raw)}{percent}{read}"
        if len(rest) <= _LONGEST < len(wrapped):
            why = (
                f"with the wrapper its command has {len(wrapped)} characters, and Debian's cron "
                f"takes {_LONGEST}: put it into a script"
            )
            return OtherLine(number, line, why)
        kept = {n: v for n, v in self.environment.items() if n not in _CRON_S_OWN}
        late += _minutes(self.environment.get("RANDOM_DELAY", ""))
        return CronJob(
            number, name, schedule, command, stdin, tuple(kept.items()), shell, user.strip(), late,
            f"{when} {user}{flags}{wrapped}",
        )  # fmt: skip


def _minutes(text: str) -> float:
    return int(text) * 60.0 if text.isdecimal() else 0.0


def _settled(when: str) -> tuple[str, float]:
    """A schedule without what only cron can decide: the earliest time, and by how many seconds it
    may be later. Raises :class:`ValueError`."""
    first, *others = when.split()
    if first.lower() == "@every_minute":
        return "* * * * *", 0.0
    if re.fullmatch(r"@(?:every.*|\d+)", first.lower()):
        raise ValueError(
            f"`{first}` counts from cron's own start: write a time, such as `*/5 * * * *`"
        )
    fields, late = [first.removeprefix("-"), *others], 0.0
    for place, (most, seconds) in enumerate(((59, 60.0), (23, 3600.0))):
        found = re.fullmatch(r"(\d{0,2})~(\d{0,2})", fields[place] if place < len(fields) else "")
        if found:
            low, high = int(found[1] or 0), int(found[2] or most)
            if not low <= high <= most:
                raise ValueError(f"invalid range {fields[place]!r} in `{when}`")
            fields[place], late = str(low), late + (high - low) * seconds
    if any("~" in each for each in fields[2:]):
        raise ValueError(f"cron picks a day at random in `{when}`: name the day")
    return " ".join(map(_without_long_step, fields, _SIZES)), late


def _without_long_step(field: str, size: tuple[int, int]) -> str:
    """``*/90`` is minute 0 alone to cron; a schedule of ours may not say that in so odd a way."""
    first, values = size
    found = re.fullmatch(r"(\*|\d+)(?:-\d+)?/(\d+)", field)
    if not found or int(found[2]) <= values:
        return field
    return str(first) if found[1] == "*" else found[1]


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
