"""``quant-exporter import crontab`` and ``import timers``: what runs already, as external tasks.

Lines for exporter.yml, a sentence for what is not a task, and what to install so that each run
reports. Nothing is changed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from exporter.cli.crontab_import import CronJob, OtherLine, read_crontab
from exporter.cli.timer_import import PROPERTIES, drop_in, read_timers
from exporter.cli.with_config import complain

_ONCE = "once the wrapper (`quant-exporter exec --print-file`) is there and the config is reloaded"


class NothingToImportError(Exception):
    """There is nothing to read; the message says why and what to do."""


def import_schedules(
    kind: str, file: str | None, *, system: bool, timezone: str | None, as_command: bool,
    wrapped: bool, wrapper: str, user: bool,
) -> int:  # fmt: skip
    """Print what the tasks would be."""
    try:
        zone = timezone or zone_here()
        if kind == "timers":
            _import_timers(zone, user=user, wrapper=wrapper)
        else:
            has_users = system or (file or "").startswith(("/etc/crontab", "/etc/cron.d/"))
            text = _crontab(file)
            found = list(read_crontab(text, zone, has_users=has_users, wrapper=wrapper))
            print(_wrapped(found) if wrapped else _crontab_tasks(found, as_command))
    except NothingToImportError as error:
        complain(str(error))
        return 1
    return 0


# --- crontab


def _crontab(file: str | None) -> str:
    if file == "-":
        return sys.stdin.read()
    if file is None:
        return _output("name a file, or - for stdin", "crontab", "-l")
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise NothingToImportError(f"{file} cannot be read: {error.strerror}") from error


def _crontab_tasks(found: list[CronJob | OtherLine], command: bool) -> str:
    lines = ["# for exporter.yml, below `tasks:`"]
    for each in found:
        if isinstance(each, CronJob):
            lines.append(f"  {each.name}: {_task(each, command)}  # line {each.number}")
    for each in found:
        if isinstance(each, OtherLine) and each.why:
            lines.append(f"# not a task: line {each.number}: {each.why}")
    if command:
        return "\n".join([*lines, "# remove these lines from the crontab: the exporter runs them"])
    install = f"\n# the crontab to install, {_ONCE}:"
    return "\n".join([*lines, install, _wrapped(found)])


def _task(job: CronJob, command: bool) -> str:
    schedule = json.dumps(job.schedule, ensure_ascii=False)
    if not command:
        return f"{{external: true, schedule: {schedule}}}"
    words = ["/bin/sh", "-c", job.command]
    if job.stdin is not None:
        words = ["/bin/sh", "-c", f'printf %s "$1" | ( {job.command} )', "sh", job.stdin]
    if job.environment:
        words = ["env", *(f"{name}={value}" for name, value in job.environment), *words]
    return f"{{command: {json.dumps(words, ensure_ascii=False)}, schedule: {schedule}}}"


def _wrapped(found: Iterable[CronJob | OtherLine]) -> str:
    return "\n".join(each.wrapped if isinstance(each, CronJob) else each.text for each in found)


# --- timers


def _import_timers(zone: str | None, *, user: bool, wrapper: str) -> None:
    systemctl = ["systemctl", *(["--user"] if user else [])]
    why = "systemd must run here"
    shown = _output(why, *systemctl, "show", f"--property={','.join(PROPERTIES)}", "*.timer")
    timers = list(read_timers(shown, zone))
    print("# for exporter.yml, below `tasks:`")
    for timer in timers:
        if timer.schedule:
            schedule = json.dumps(timer.schedule)
            print(f"  {timer.name}: {{external: true, schedule: {schedule}}}  # {timer.unit}")
    for timer in timers:
        if timer.why:
            print(f"# not a task: {timer.unit}: {timer.why}")
    print(f"\n# so that they report, {_ONCE}:")
    for timer in timers:
        if timer.schedule:
            try:
                print(drop_in(timer, _output(why, *systemctl, "cat", timer.service), wrapper))
            except (ValueError, NothingToImportError) as error:
                print(f"# {error}")


def _output(cure: str, *command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NothingToImportError(f"{command[0]} cannot be asked ({error}): {cure}") from error
    if done.returncode:
        said = done.stderr.strip() or f"exit status {done.returncode}"
        raise NothingToImportError(f"{' '.join(command[:2])}: {said}: {cure}")
    return done.stdout


def zone_here() -> str | None:
    """The machine's time zone by its IANA name; None when it does not say."""
    if name := os.environ.get("TZ", "").lstrip(":"):
        return name
    try:
        _, found, name = str(Path("/etc/localtime").readlink()).partition("zoneinfo/")
    except OSError:
        return None
    return name if found else None
