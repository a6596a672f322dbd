"""What is here and how it does; backup and restore; secrets."""

from __future__ import annotations

import datetime
import json
import math
import re
import shutil
import tempfile
import time
from pathlib import Path

import probe
import state
import switch
import watch
from places import (
    BACKUPS,
    CREDENTIALS,
    HISTORY,
    LOGS,
    PAGER_SECRETS,
    STATE,
    UNIT,
    USER,
    ProblemError,
)
from provision import load_credentials
from releases import current, every, need_space, remember
from shell import attempt, is_active, run, say, shows


def status() -> bool:
    """Print version, uptime, health, last runs, disk and what fires; True when all is well."""
    now = current()
    shown = shows(UNIT, "ActiveState", "SubState", "NRestarts", "ActiveEnterTimestampMonotonic")
    up = time.monotonic() - float(shown["ActiveEnterTimestampMonotonic"] or 0) / 1e6
    ready = bool(now) and probe.is_ready(now.about)
    say(f"version   {now.version if now else 'none deployed yet'}")
    say(
        f"exporter  {shown['ActiveState']} ({shown['SubState']}), "
        f"{'ready' if ready else 'not ready'}, "
        f"{_age(up)} since it started, {shown['NRestarts']} restarts"
    )
    for unit in ("prometheus", "prometheus-alertmanager", "grafana-server", "nginx"):
        if attempt("systemctl", "cat", f"{unit}.service").returncode == 0:
            say(f"{unit:<24}{'active' if is_active(unit + '.service') else 'NOT ACTIVE'}")
    if ready and now:
        last = probe.samples(now.about, "quant_task_last_success_timestamp_seconds")
        for task, at in sorted(last.items()):
            when = "never" if math.isnan(at) else f"{_age(time.time() - at)} ago"
            say(f"  {task:<32} last success {when}")
    for path in ("/", str(STATE)):
        disk = shutil.disk_usage(path)
        say(f"disk      {path}: {disk.free / 1e9:.1f} GB free of {disk.total / 1e9:.1f} GB")
    say(f"firing    {', '.join(probe.firing()) or 'nothing'}")
    for release in every():
        proved = "good" if release.good_at else "not proved"
        say(f"release   {release.version} ({proved}){' <- current' if release == now else ''}")
    for line in HISTORY.read_text().splitlines()[-5:] if HISTORY.exists() else []:
        entry = json.loads(line)
        at = datetime.datetime.fromtimestamp(entry["at"], datetime.timezone.utc)  # noqa: UP017
        say(f"history   {at:%Y-%m-%d %H:%M}Z {entry['what']} {entry['version']}")
    return ready


def _age(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))


def backup(target: Path) -> None:
    """State (consistent), reports, the user's files below var and the config as one archive."""
    release = current()
    if not release:
        raise ProblemError("nothing is deployed yet, so there is nothing to save")
    need_space(BACKUPS, 100)
    target = target.absolute()
    saved = state.save(release, "backup")
    with tempfile.TemporaryDirectory(dir=BACKUPS) as folder:
        inside = Path(folder) / "backup"
        inside.mkdir()
        if saved:
            shutil.copy(saved, inside / "state.db")
        shutil.copy(release.folder / "exporter.yml", inside)
        # The token stays: it is a secret, and each machine has its own.
        skip = ("log", "cache", "token", ".*.draft", f"{Path(release.about.state).name}*")
        shutil.copytree(STATE, inside / "var", ignore=shutil.ignore_patterns(*skip), symlinks=True)
        if (LOGS / "reports").is_dir():
            shutil.copytree(LOGS / "reports", inside / "reports")
        (inside / "version").write_text(release.version)
        draft = target.with_name(f".{target.name}.draft")
        run("tar", "-czf", draft, "-C", folder, "backup")
        draft.chmod(0o600)
        draft.replace(target)
    say(f"saved as {target}")


def restore(archive: Path) -> None:
    """Put state and the user's files back as they were saved; what is there now is saved first."""
    release = current()
    if not release:
        raise ProblemError("deploy first; a backup is restored into a deployed exporter")
    with tempfile.TemporaryDirectory(dir=BACKUPS) as folder:
        run("tar", "-xzf", archive, "-C", folder, "--no-same-owner")
        inside = Path(folder) / "backup"
        version = (inside / "version").read_text() if (inside / "version").exists() else None
        saved = inside / "state.db"
        if not saved.is_file():
            raise ProblemError(f"{archive} holds no state; is it a backup of quant-exporter?")
        theirs, ours = inside / "exporter.yml", release.folder / "exporter.yml"
        same_config = theirs.is_file() and theirs.read_bytes() == ours.read_bytes()
        run("chown", "-R", f"{USER}:{USER}", folder)
        # The folder is root's own: whoever runs as the exporter's user may pass through it.
        Path(folder).chmod(0o711)
        if (schema := state.schema_of(saved)) > release.about.schema:
            raise ProblemError(
                f"{archive} was saved by a newer version (schema {schema}); {release.version} "
                f"knows {release.about.schema}: deploy the newer one first"
            )
        switch.stop(gently=True)
        try:
            state.save(release, "before-restore")
            state.put_back(saved, release)
            run("cp", "-a", f"{inside / 'var'}/.", STATE)
        finally:
            switch.start(release)
    watch.until_ready(release)
    remember(what="restored", version=release.version, archive_of=version)
    say("restored; the exporter is ready. No slot up to now is run again")
    if not same_config:
        say(
            f"the archive's exporter.yml (version {version}) is another one than what runs; it is "
            f"not put back: `tar -xzOf {archive.name} backup/exporter.yml` shows it"
        )


def forget_credential(name: str) -> None:
    """Delete a secret. What runs has it until its next start."""
    if not re.fullmatch(r"\w+", name) or not (CREDENTIALS / name).is_file():
        raise ProblemError(f"there is no secret {name!r}")
    (CREDENTIALS / name).unlink()
    (PAGER_SECRETS / name).unlink(missing_ok=True)
    load_credentials()
    say(f"{name} is deleted; the exporter has it until its next start")


def put_credential(name: str, value: str) -> None:
    """Store a secret that came in on standard input; the unit loads it at its next start."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", name):
        raise ProblemError(f"{name!r} is no name for a secret; write letters, digits and _")
    if not value.strip():
        raise ProblemError("the secret is empty; give it on standard input")
    CREDENTIALS.mkdir(parents=True, exist_ok=True)
    draft = CREDENTIALS.parent / f".{name}.draft"
    draft.touch(mode=0o600)
    draft.write_text(value.strip())
    draft.replace(CREDENTIALS / name)
    load_credentials()
    say(f"{name} is stored; the exporter has it after its next start: deploy")
