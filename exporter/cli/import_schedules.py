"""``quant-exporter import crontab`` and ``import timers``: what runs already, as external tasks.

Lines for exporter.yml, a sentence for what is not a task, and what to install so that each run
reports. Nothing is changed.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from exporter.cli.crontab_import import CronJob, OtherLine, read_crontab
from exporter.cli.task_lines import external_task
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
            _print(_wrapped(found) if wrapped else _crontab_tasks(found, as_command))
    except NothingToImportError as error:
        complain(str(error))
        return 1
    return 0


# --- crontab


def _crontab(file: str | None) -> str:
    if file == "-":
        return _text(sys.stdin.buffer.read())
    if file is None:
        return _output("name a file, or - for stdin", "crontab", "-l")
    try:
        return _text(Path(file).read_bytes())
    except OSError as error:
        raise NothingToImportError(f"{file} cannot be read: {error.strerror}") from error


def _text(data: bytes) -> str:
    """Bytes that are not UTF-8 stay what they are: the crontab is printed again."""
    return data.decode("utf-8", "surrogateescape")


def _print(text: str) -> None:
    """Byte for byte, but to a terminal, which would obey some of them."""
    data = f"{text}\n".encode("utf-8", "surrogateescape")
    if sys.stdout.isatty():
        print(data.decode("utf-8", "replace"), end="")
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _crontab_tasks(found: list[CronJob | OtherLine], command: bool) -> str:
    lines = ["# for exporter.yml, below `tasks:`"]
    others = {each.number: each.why for each in found if isinstance(each, OtherLine) and each.why}
    for each in found:
        if isinstance(each, CronJob):
            if command and not _is_utf8(each):
                others[each.number] = "it is not UTF-8: put the command into a script"
                continue
            task = _command_task(each) if command else external_task(each.schedule, each.late)
            whose = f", ran as {each.user}" if command and each.user else ""
            lines.append(f"  {each.name}: {task}  # line {each.number}{whose}")
    lines += [f"# not a task: line {number}: {why}" for number, why in sorted(others.items())]
    if command:
        return "\n".join([*lines, "# remove these lines from the crontab: the exporter runs them"])
    install = f"\n# the crontab to install, {_ONCE}:"
    return "\n".join([*lines, install, _wrapped(found)])


def _is_utf8(job: CronJob) -> bool:
    try:
        f"{job.command}{job.stdin}{job.environment}".encode()
    except UnicodeEncodeError:
        return False
    return True


def _command_task(job: CronJob) -> str:
    """As cron runs it: by the crontab's shell, with its variables, in the home folder."""
    words = [job.shell, "-c", job.command]
    if job.stdin is not None:  # a comment may end the command
        words = [job.shell, "-c", f'printf %s "$1" | (\n{job.command}\n)', "sh", job.stdin]
    if job.environment:
        words = ["env", *(f"{name}={value}" for name, value in job.environment), *words]
    home = dict(job.environment).get("HOME") or _home(job.user)
    keys = {"command": words, "schedule": job.schedule, "cwd": home}
    return f"{{{', '.join(f'{k}: {json.dumps(v, ensure_ascii=False)}' for k, v in keys.items())}}}"


def _home(user: str) -> str:
    try:
        return pwd.getpwnam(re.split("[:/]", user)[0]).pw_dir if user else str(Path.home())
    except KeyError:
        return "/"


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
            print(f"  {timer.name}: {external_task(timer.schedule, timer.late)}  # {timer.unit}")
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
        done = subprocess.run(command, capture_output=True, check=False, timeout=30)
    except FileNotFoundError as error:
        raise NothingToImportError(f"there is no {command[0]} here: {cure}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NothingToImportError(f"cannot run {command[0]} ({error}): {cure}") from error
    if done.returncode:
        said = _text(done.stderr).strip() or f"exit status {done.returncode}"
        raise NothingToImportError(f"{' '.join(command[:2])}: {said}: {cure}")
    return _text(done.stdout)


def zone_here() -> str | None:
    """The machine's time zone by its IANA name; None when it does not say."""
    if name := os.environ.get("TZ", "").lstrip(":"):
        return name
    try:
        _, found, name = str(Path("/etc/localtime").readlink()).partition("zoneinfo/")
    except OSError:
        return None
    return name if found else None
