"""From one release to another: wait, save, switch, watch, and back when it is not well."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
import urllib.parse
from collections.abc import Iterable
from pathlib import Path

import gave_up
import grafana_server
import probe
import prometheus_file
import settings
import state
import watch
from annotation import annotate
from desired import bring_about
from places import (
    ALERTMANAGER_ZONE,
    CREDENTIALS,
    CURRENT,
    PROGRAMS_LIMITS,
    RESERVE,
    UNIT,
    ProblemError,
)
from provision import load_credentials, share_secrets
from releases import Release, build, current, find, point_at, previous, prune, remember
from shell import attempt, is_active, run, say, shows
from taken import owner

_GAP_SECONDS = 8.0
_LOOK_EVERY_SECONDS = 0.5
_RESERVE_BYTES = 16_000_000
_HELPERS = (
    # What starts processes for tasks, newest first; a release has one of them.
    ("exporter.runner.worker.forkserver", "process"),
    ("exporter.worker.zygote", "mixed"),
)
_WENT_WRONG = (ProblemError, OSError, subprocess.SubprocessError)


def deploy(version: str, *, now: bool, allow_simulated: bool, watch_seconds: float) -> None:
    """Build, check, save, switch, watch. Raises :class:`ProblemError` when the old one serves on.

    Nothing that serves is touched before the new version has accepted its configuration.
    """
    new, old = build(version), current()
    if new.about.simulated and not allow_simulated:
        raise ProblemError(
            f"exporter.yml: sources.{new.about.simulated[0]}: prices are simulated; nobody trades "
            "on those. Set `type: tickdb`, or deploy with --allow-simulated to try things"
        )
    runs_already = bool(old) and old.version == version and is_active(UNIT) and not _new_secrets()
    if runs_already and new.good_at:
        say(f"{version} runs already")
        return
    if not runs_already:
        _need_its_port(new, old)
    if old and not runs_already and not now and is_active(UNIT):
        wait_for_tasks(old)
    servers = watch.servers_to_watch(first=old is None)
    known_errors: dict[str, float] = {}
    if old:
        with contextlib.suppress(OSError):
            known_errors = probe.errors(old.about)
        if not runs_already:
            state.save(old, f"before-{version}")
    try:
        if not runs_already:
            _switch(new, gently=not now)
        watch.watch(new, watch_seconds, known_errors, servers)
    except _WENT_WRONG as problem:
        say(f"{version} is not well: {problem}")
        remember(what="failed", version=version, why=str(problem))
        back = old if old and old.version != version else previous()
        if not back:
            attempt("systemctl", "stop", UNIT)
            CURRENT.unlink()  # the next boot does not start it either
            raise ProblemError(f"{version} failed, and there is nothing to go back to") from problem
        try:
            seconds = back_to(back)
        except _WENT_WRONG as worse:
            raise ProblemError(
                f"{version} failed, and going back to {back.version} failed, too: {worse}"
            ) from worse
        raise ProblemError(
            f"{version} failed; rolled back to {back.version} in {seconds:.1f} s"
        ) from problem
    try:
        new.note(good_at=time.time())
    except OSError as error:
        raise ProblemError(
            f"{version} runs and is well, but that cannot be written down ({error.strerror}), so "
            "no rollback would come back to it: make room, then deploy it again"
        ) from error
    remember(what="deployed", version=version, before=old.version if old else None)
    gave_up.take_back()
    annotate(f"deployed {version}")
    prune()
    _keep_room()
    say(f"{version} is deployed")
    _say_what_phones_need(new)


def _need_its_port(new: Release, old: Release | None) -> None:
    if old and is_active(UNIT) and old.about.listen[1] == new.about.listen[1]:
        return
    port = new.about.listen[1]
    if there := owner(port):
        raise ProblemError(
            f"port {port} is taken by {there}; nothing was changed. Stop it (`ss -ltnp sport = "
            f":{port}` shows it), or write another port under `listen:` in exporter.yml"
        )


def _say_what_phones_need(new: Release) -> None:
    host = urllib.parse.urlsplit(new.about.public_url).hostname or ""
    if host in ("localhost", "127.0.0.1", "::1"):
        say(
            f"note: public_url is {new.about.public_url}: links in messages lead nowhere from a "
            "phone, and the page answers 403 there. Set it to https://ADDRESS of this machine"
        )


def rollback(version: str | None) -> None:
    """Go back to a release, or to the newest that proved good. Waits for no task."""
    target = find(version) if version else previous()
    if not target:
        raise ProblemError(
            f"{version} is not on this machine; `status` lists what is"
            if version
            else "no earlier release has proved good here; `status` lists what there is"
        )
    before = current()
    seconds = back_to(target)
    with contextlib.suppress(OSError):  # a full disk stops no rollback
        # What somebody went back from is not what the next rollback goes to.
        if before and before.built_at > target.built_at:
            before.note(good_at=None)
        target.note(good_at=target.good_at or time.time())
    say(f"rolled back to {target.version} in {seconds:.1f} s")
    annotate(f"rolled back to {target.version}")


def back_to(target: Release) -> float:
    """Switch to a release at once; seconds it took until that was ready."""
    began = time.monotonic()
    before = current()
    _make_room()
    stop(gently=False)
    state.make_readable_by(target)
    point_at(target)
    start(target)
    watch.until_ready(target)
    seconds = time.monotonic() - began
    gave_up.take_back()
    remember(
        what="rolled_back",
        version=target.version,
        before=before.version if before else None,
        seconds=round(seconds, 1),
    )
    return seconds


def _make_room() -> None:
    """On a full disk: give back what was kept for this. systemd makes folders for each start."""
    if shutil.disk_usage(RESERVE.parent).free < _RESERVE_BYTES:
        RESERVE.unlink(missing_ok=True)


def _keep_room() -> None:
    with contextlib.suppress(OSError):
        if not RESERVE.exists() or RESERVE.stat().st_size < _RESERVE_BYTES:
            with RESERVE.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, _RESERVE_BYTES)


def _switch(new: Release, *, gently: bool) -> None:
    stop(gently=gently)
    began = time.monotonic()
    point_at(new)
    start(new)
    say(f"switched to {new.version}; the exporter was down for {time.monotonic() - began:.1f} s")


def wait_for_tasks(release: Release) -> None:
    """Wait while a task runs that must not be interrupted, and for a moment in which no slot falls
    due of a task that does not catch up."""
    said: set[str] = set()
    slots: dict[str, set[float]] = {task: set() for task in release.about.punctual}
    while True:
        busy = probe.running(release.about) & set(release.about.uninterruptible)
        for task, at in _due_soon(release, slots).items():
            slots[task].add(at)
            # One that is due again and again leaves no gap to wait for.
            if len(slots[task]) == 1:
                busy.add(task)
        if not busy:
            return
        if busy - said:
            say(f"waiting for {', '.join(sorted(busy))} (--now would not)")
            said |= busy
        time.sleep(_LOOK_EVERY_SECONDS)


def _due_soon(release: Release, tasks: Iterable[str]) -> dict[str, float]:
    with contextlib.suppress(OSError):
        nexts = probe.samples(release.about, "quant_task_next_slot_timestamp_seconds")
        soon = time.time() + _GAP_SECONDS
        return {task: nexts[task] for task in tasks if nexts.get(task, soon) < soon}
    return {}


def _new_secrets() -> bool:
    """Whether a secret was stored since the exporter started: it has the old one."""
    up = float(shows(UNIT, "ActiveEnterTimestampMonotonic")["ActiveEnterTimestampMonotonic"]) / 1e6
    started = time.time() - (time.monotonic() - up)
    return any(p.stat().st_mtime > started for p in CREDENTIALS.iterdir() if p.is_file())


def stop(*, gently: bool) -> None:
    """Stop the exporter; at once means five seconds for an orderly end."""
    if gently:
        run("systemctl", "stop", UNIT, timeout=4000)
    elif is_active(UNIT) or not _is_down():
        run("systemctl", "stop", "--no-block", UNIT)
        for signal, seconds in (("TERM", 3.0), ("TERM", 2.0), ("KILL", 10.0)):
            attempt("systemctl", "kill", "--kill-whom=main", f"--signal={signal}", UNIT)
            if _is_down(seconds):
                break
    attempt("systemctl", "kill", "--signal=KILL", "quant-programs@*.service")
    attempt("systemctl", "stop", "quant-programs@*.service")
    attempt("systemctl", "reset-failed", UNIT)


def _is_down(seconds: float = 0.0) -> bool:
    until = time.monotonic() + seconds
    while True:
        state_now = attempt("systemctl", "is-active", UNIT).stdout.strip()
        if state_now in ("inactive", "failed", "unknown"):
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(0.1)


def start(release: Release) -> None:
    """Start it and have Prometheus, Alertmanager and Grafana read the release's files."""
    try:
        load_credentials()  # one that was deleted by hand would keep it from starting
    except OSError as error:
        say(f"the list of the unit's secrets stays as it is: {error}")
    _limit_programs(release)
    new_zone = _set_zone(release)
    has_grafana = attempt("systemctl", "cat", grafana_server.UNIT).returncode == 0
    if has_grafana:
        _lead_to_boards(release)
    result = attempt("systemctl", "start", UNIT)
    if result.returncode:
        raise ProblemError(f"it does not start:\n{watch.last_words()}")
    here = settings.read()
    with contextlib.suppress(OSError):  # a full disk stops no rollback
        if here.servers:
            _give_secrets(release)
    try:
        prometheus_file.write_copy(
            release.folder
        )  # an older release may have none, or an older one
    except (ProblemError, OSError) as problem:
        say(f"Prometheus keeps its settings: {problem}")
    for unit in here.servers:
        attempt("systemctl", "reset-failed", unit)
        if attempt("systemctl", "cat", unit).returncode == 0:
            how = "restart" if new_zone and "alertmanager" in unit else "reload-or-restart"
            attempt("systemctl", how, unit)
    if has_grafana:
        with contextlib.suppress(ProblemError, OSError):  # Grafana keeps no exporter down
            bring_about([grafana_server.link_to_page(release.about.public_url)], dry_run=False)
        attempt("systemctl", "restart", "--no-block", grafana_server.UNIT)


def _limit_programs(release: Release) -> None:
    """What ``programs:`` in exporter.yml says about the user's own programs, for systemd."""
    limits = release.about.programs
    lines = ["# Written by each deploy from `programs:` in exporter.yml.", "[Service]"]
    lines += _helper(release)
    if limits:
        lines += [f"MemoryMax={limits['memory']}", f"TasksMax={limits['processes']}"]
        lines += [f"ReadWritePaths={path}" for path in limits["write"]]
    try:
        _drop_in(PROGRAMS_LIMITS, lines)
    except OSError as error:
        say(f"the limits of your programs stay as they are: {error}")


def _set_zone(release: Release) -> bool:
    """Messages say "firing since" in the zone of Alertmanager's TZ. Whether it has a new one."""
    if not (zone := release.about.timezone):
        return False
    lines = ["# Written by each deploy from `timezone:` in exporter.yml.", "[Service]"]
    try:
        return _drop_in(ALERTMANAGER_ZONE, [*lines, f"Environment=TZ={zone}"])
    except OSError as error:
        say(f"the time zone of Alertmanager's messages stays as it is: {error}")
        return False


def _lead_to_boards(release: Release) -> None:
    text = grafana_server.link_to_boards(release.about.public_url)
    try:
        _drop_in(grafana_server.BOARDS, text.splitlines())
    except OSError as error:
        say(f"the pages' links to the boards stay as they are: {error}")


def _drop_in(file: Path, lines: list[str]) -> bool:
    """Give a unit these lines; whether it had others. Raises OSError."""
    text = "\n".join([*lines, ""])
    with contextlib.suppress(OSError):
        if file.read_text() == text:
            return False
    file.parent.mkdir(exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(file)
    attempt("systemctl", "daemon-reload")
    return True


def _helper(release: Release) -> list[str]:
    """How this release starts processes: the unit is older or newer than it may be."""
    for module, kill_mode in _HELPERS:
        if (release.folder / f"{module.replace('.', '/')}.py").exists():
            start = f"ExecStart={CURRENT}/venv/bin/python -P -m {module} 3"
            return ["ExecStart=", start, f"KillMode={kill_mode}"]
    return []


def _give_secrets(release: Release) -> None:
    config = release.folder / "alerting/alertmanager.yml"
    text = config.read_text() if config.exists() else ""
    wanted = sorted(set(re.findall(r"/etc/alertmanager/secrets/(\w+)", text)))
    missing = share_secrets(wanted, Path(release.about.state).with_name("token"))
    if missing:
        say(f"Alertmanager lacks {', '.join(missing)}: store each by `make secret NAME=…`")
