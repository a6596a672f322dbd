"""Backup and restore: state, reports, the user's files and the configuration, as one archive."""

from __future__ import annotations

import datetime
import shutil
import tempfile
import time
from pathlib import Path

import state
import switch
import watch
from places import BACKUPS, CONFIG, PROMETHEUS_COPY, STATE, USER, ProblemError
from releases import Release, current, need_space, point_at, remember, with_config
from shell import attempt, run, say


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
        for name in CONFIG:
            if (release.folder / name).is_dir():
                made = shutil.ignore_patterns(PROMETHEUS_COPY)
                shutil.copytree(release.folder / name, inside / name, ignore=made)
            elif (release.folder / name).is_file():
                shutil.copy(release.folder / name, inside)
        # The token stays: it is a secret, and each machine has its own.
        skip = ("log", "cache", "token", ".*.draft", f"{Path(release.about.state).name}*")
        shutil.copytree(STATE, inside / "var", ignore=shutil.ignore_patterns(*skip), symlinks=True)
        (inside / "version").write_text(release.version)
        draft = target.with_name(f".{target.name}.draft")
        run("tar", "-czf", draft, "-C", folder, "backup")
        draft.chmod(0o600)
        draft.replace(target)
    say(f"saved as {target}")


def restore(archive: Path, *, with_its_config: bool) -> None:
    """Put state, reports and the user's files back as they were saved, and, when told so, the
    configuration; what is there now is saved first."""
    running = current()
    if not running:
        raise ProblemError("deploy first; a backup is restored into a deployed exporter")
    with tempfile.TemporaryDirectory(dir=BACKUPS) as folder:
        run("tar", "-xzf", archive, "-C", folder, "--no-same-owner")
        inside = Path(folder) / "backup"
        version = (inside / "version").read_text() if (inside / "version").exists() else None
        saved = inside / "state.db"
        if not saved.is_file():
            raise ProblemError(f"{archive} holds no state; is it a backup of quant-exporter?")
        other = _differing_config(inside, running)
        # The folder is root's own: whoever runs as the exporter's user may pass through it.
        Path(folder).chmod(0o711)
        run("chown", "-R", f"{USER}:{USER}", folder)
        release = running
        if other and with_its_config:
            stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")  # noqa: UP017
            name = running.version.partition("-restored-")[0]
            release = with_config(running, inside, f"{name}-restored-{stamp}")
        if (schema := state.schema_of(saved)) > release.about.schema:
            raise ProblemError(
                f"{archive} was saved by a newer version (schema {schema}); {release.version} "
                f"knows {release.about.schema}: deploy the newer one first"
            )
        switch.stop(gently=True)
        try:
            state.save(running, "before-restore")
            state.put_back(saved, release)
            run("cp", "-a", f"{inside / 'var'}/.", STATE)
        except BaseException:
            switch.start(running)
            raise
    try:
        point_at(release)
        switch.start(release)
        watch.until_ready(release)
    except (ProblemError, OSError):
        if release != running:
            switch.back_to(running)
        raise
    if release != running:
        release.note(good_at=time.time())
    remember(what="restored", version=release.version, archive_of=version)
    say("restored; the exporter is ready. No slot up to now is run again")
    if release != running:
        say(
            f"with the archive's {', '.join(other)}, as version {release.version}: commit them, "
            "or the next deploy brings back what is committed"
        )
    elif other:
        say(
            f"the archive's {', '.join(other)} (version {version}) differ from what runs and were "
            "not put back; --config does that"
        )


def _differing_config(inside: Path, running: Release) -> list[str]:
    return [
        name
        for name in CONFIG
        if (inside / name).exists()
        and attempt(
            "diff", "-rq", "-x", PROMETHEUS_COPY, inside / name, running.folder / name
        ).returncode
    ]
