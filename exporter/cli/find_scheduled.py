"""What cron and systemd's timers start here."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator
from pathlib import Path

from exporter.cli.command_names import base_name
from exporter.cli.crontab_import import CronJob, read_crontab
from exporter.cli.discovered import Findings, ThisMachine, Unwatched, is_watched, shown_command
from exporter.cli.task_lines import external_task
from exporter.cli.timer_import import PROPERTIES, Timer, read_timers

_FOLDERS = {
    "hourly": "17 * * * *", "daily": "25 6 * * *", "weekly": "47 6 * * 7", "monthly": "52 6 1 * *",
}  # fmt: skip
"""When Debian's /etc/crontab runs them; the time in there counts where it has one."""
_RUN_PARTS_SECONDS = 3300.0
"""How long the scripts before one may take."""
_IGNORED = re.compile(r"\.(?:dpkg-\w+|bak|orig|rpm\w+|disabled)$|~$|^\.|^README")
_MAILS = "cron tells nobody when it fails or does not run"


def find_cron(machine: ThisMachine, zone: str | None) -> Findings:
    """The user's crontab, those of others as far as they may be read, /etc/crontab, /etc/cron.d and
    the folders of scripts."""
    findings, times = Findings(), dict(_FOLDERS)
    for place, whose, crontab in _crontabs(machine, findings):
        _read(findings, place, crontab, zone, times, whose=whose)
    etc = machine.root / "etc"
    files = [etc / "crontab", *_files(etc / "cron.d", findings)]
    packaged = machine.packaged([_named(machine, file) for file in files if file.is_file()])
    for file in files:
        place = _named(machine, file)
        if place in packaged and file.name != "crontab":
            findings.packaged.append(place)
        elif (text := _text(file, findings, place)) is not None:
            _read(findings, place, text, zone, times)
    for period, schedule in times.items():
        _scripts(machine, findings, etc / f"cron.{period}", schedule, zone)
    return findings


def _crontabs(machine: ThisMachine, findings: Findings) -> Iterator[tuple[str, str, str]]:
    """Those of users: where, whose, and what is in it."""
    spool = machine.root / "var/spool/cron/crontabs"
    files = _files(spool, findings) if machine.uid == 0 else []
    for file in files:
        text = _text(file, findings, _named(machine, file))
        if text is not None:
            yield f"crontab of {file.name}", file.name, text
    if not files:
        status, out, _ = machine.run("crontab", "-l")
        if status == 0:
            yield f"crontab of {getpass.getuser()}", getpass.getuser(), out


def _read(
    findings: Findings, place: str, text: str, zone: str | None, times: dict[str, str],
    *, whose: str = "",
) -> None:  # fmt: skip
    for line in read_crontab(text, zone, has_users=not whose):
        where = f"{place}, line {line.number}"
        command = line.command if isinstance(line, CronJob) else line.text
        folder = re.search(r"/etc/cron\.(hourly|daily|weekly|monthly)\b", command)
        if isinstance(line, CronJob) and folder and "run-parts" in command:
            times[folder[1]] = line.schedule
        elif is_watched(command) or (not isinstance(line, CronJob) and "wrapped" in line.why):
            findings.watched.append(where)
        elif isinstance(line, CronJob):
            task = external_task(line.schedule, line.late)
            what = f"{where}: {shown_command(line.command)}"
            findings.found.append(
                Unwatched(line.name, task, what, f"{_MAILS}; wrap it: {_cure(place)}")
            )
        elif line.why:
            what = f"{where}: {shown_command(line.text)}"
            findings.found.append(Unwatched(base_name(line.text), "", what, line.why))


def _cure(place: str) -> str:
    file = f" {place}" if place.startswith("/") else ""
    return f"quant-exporter import crontab{file}"


def _scripts(
    machine: ThisMachine, findings: Findings, folder: Path, schedule: str, zone: str | None
) -> None:
    files = _files(folder, findings)
    packaged = machine.packaged([_named(machine, file) for file in files])
    for file in files:
        place = _named(machine, file)
        text = _text(file, findings, place)
        if place in packaged:
            findings.packaged.append(place)
        elif text is not None and is_watched(text):
            findings.watched.append(place)
        else:
            when = schedule if zone is None or zone in schedule else f"{schedule} {zone}"
            task = external_task(when, _RUN_PARTS_SECONDS)
            why = f"{_MAILS}; have it report at its end: quant-exporter ping-url"
            findings.found.append(Unwatched(base_name(place), task, place, why))


def _files(folder: Path, findings: Findings) -> list[Path]:
    try:
        return sorted(
            file for file in folder.iterdir() if file.is_file() and not _IGNORED.search(file.name)
        )
    except FileNotFoundError:
        return []
    except OSError as error:
        findings.unseen.append(f"{folder}: {error.strerror}")
        return []


def _text(file: Path, findings: Findings, place: str) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        findings.unseen.append(f"{place}: {error.strerror}")
        return None


def _named(machine: ThisMachine, file: Path) -> str:
    return f"/{file.relative_to(machine.root)}"


# --- timers


def find_timers(machine: ThisMachine, zone: str | None) -> Findings:
    """Timers of the machine's systemd and of the user's own."""
    findings = Findings()
    for scope in ((), ("--user",)):
        properties = ",".join((*PROPERTIES, "FragmentPath"))
        ask = ("systemctl", *scope, "show")
        status, out, err = machine.run(*ask, f"--property={properties}", "*.timer")
        if status:
            whose = "the timers of your own systemd" if scope else "systemd's timers"
            findings.unseen.append(f"{whose}: {err.splitlines()[-1] if err else 'no answer'}")
            continue
        paths = dict(re.findall(r"^FragmentPath=(.+/([^/\n]+\.timer))$", out, re.MULTILINE))
        own = {
            unit: path for path, unit in paths.items() if not path.startswith(("/usr/", "/lib/"))
        }
        for timer in read_timers(out, zone):
            if timer.unit in own:
                _timer(machine, findings, timer, scope)
            else:
                findings.packaged.append(timer.unit)
    return findings


def _timer(machine: ThisMachine, findings: Findings, timer: Timer, scope: tuple[str, ...]) -> None:
    _, starts, _ = machine.run("systemctl", *scope, "show", "--property=ExecStart", timer.service)
    if is_watched(starts):
        findings.watched.append(timer.unit)
        return
    task = external_task(timer.schedule, timer.late) if timer.schedule else ""
    why = "systemd tells nobody when its service fails or does not run"
    if timer.why:
        why = f"{why}; {timer.why}"
    flag = " --user" if scope else ""
    cure = f"; wrap it: quant-exporter import timers{flag}" if task else ""
    findings.found.append(
        Unwatched(timer.name, task, f"{timer.unit} starts {timer.service}", why + cure)
    )
