"""Releases on the machine: each a folder of its own, with its own locked environment.

``releases/VERSION/`` holds the tree as committed, ``venv/`` and ``.release.json``; ``var`` in it
leads to the state folder, so that relative paths in ``exporter.yml`` outlive the release.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import environment
from about import About, about_of
from places import CONFIG, CURRENT, HISTORY, INCOMING, KEEP_RELEASES, RELEASES, STATE, ProblemError
from places import release as folder_of
from shell import journal, run, say


@dataclass(frozen=True)
class Release:
    """One version that is built."""

    version: str
    environment: str
    built_at: float
    good_at: float | None
    about: About
    code: str = ""
    """Fingerprint of the exporter itself, as it is installed in the environment."""

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return folder_of(self.version)

    def note(self, **changed: object) -> None:
        """Write what is known of it, in one step."""
        draft = self.folder / ".release.json.draft"
        draft.write_text(json.dumps(asdict(self) | changed))
        draft.replace(self.folder / ".release.json")


def find(version: str) -> Release | None:
    """A release that was built to its end."""
    try:
        known = json.loads((folder_of(version) / ".release.json").read_text())
    except (OSError, ValueError):
        return None
    names = {f.name for f in fields(Release)}
    told = {name: value for name, value in known.items() if name in names}
    return Release(**{**told, "about": About.of(known["about"])})


def every() -> list[Release]:
    """All that are built, newest first."""
    found = [find(p.name) for p in RELEASES.iterdir() if p.is_dir()] if RELEASES.is_dir() else []
    return sorted((r for r in found if r), key=lambda r: r.built_at, reverse=True)


def current() -> Release | None:
    """The release that the link points at."""
    return find(CURRENT.readlink().name) if CURRENT.is_symlink() else None


def previous() -> Release | None:
    """The one to go back to: the newest that once proved good, but not the current one."""
    now = current()
    good = [r for r in every() if r.good_at and (now is None or r.version != now.version)]
    return max(good, key=lambda r: r.good_at or 0.0, default=None)


def point_at(release: Release) -> None:
    """Switch the link in one step: whoever looks sees the old or the new one, never none."""
    draft = CURRENT.with_name(".current.draft")
    draft.unlink(missing_ok=True)
    draft.symlink_to(release.folder)
    draft.replace(CURRENT)


def build(version: str) -> Release:
    """Unpack what was uploaded and make its environment; what is built already is kept."""
    if done := find(version):
        return done
    archive = INCOMING / f"{version}.tar.gz"
    if not archive.is_file():
        raise ProblemError(f"{archive} is not there; upload it first")

    def unpack(folder: Path) -> None:
        run("tar", "-xzf", archive, "-C", folder, "--no-same-owner", "--no-same-permissions")

    return _make(version, unpack)


def with_config(release: Release, config: Path, version: str) -> Release:
    """The same code with the configuration that lies in `config`, as a version of its own."""

    def compose(folder: Path) -> None:
        shutil.copytree(
            release.folder,
            folder,
            symlinks=True,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("venv", ".release.json*"),
        )
        for name in CONFIG:
            if (config / name).is_dir():
                shutil.rmtree(folder / name, ignore_errors=True)
                shutil.copytree(config / name, folder / name)
            elif (config / name).is_file():
                shutil.copyfile(config / name, folder / name)
        run("chmod", "-R", "u=rwX,go=rX", folder)

    return _make(version, compose)


def _make(version: str, fill: Callable[[Path], None]) -> Release:
    folder = folder_of(version)
    need_space(RELEASES, 700)
    say(f"building {version}")
    if folder.exists():
        say(f"clearing what an interrupted deploy left in {folder}")
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True)
        fill(folder)
        var = folder / "var"
        if var.is_dir() and not var.is_symlink():
            shutil.rmtree(var)
        if not var.is_symlink():
            var.symlink_to(STATE)
        libraries, code = _environment(folder)
        release = Release(version, libraries, time.time(), None, about_of(folder), code)
        release.note()
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ProblemError(f"{version} cannot be built: {error}") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return release


def _environment(folder: Path) -> tuple[str, str]:
    """Make ``venv``; the fingerprints of its libraries and of the exporter in it."""
    libraries, code = environment.libraries(folder), environment.code(folder)
    if like := _like(libraries, code):
        say(f"environment: the same as that of {like.version}")
        environment.lend(like.folder, folder)
    elif like := _like(environment.without_own(folder), code):
        say(f"environment: that of {like.version}, and what your requirements.txt names")
        environment.lend(like.folder, folder)
        environment.install_own(folder)
    else:
        say("environment: installing what the lock file names")
        environment.install(folder)
    if not like or like.code != code:
        environment.install_exporter(folder)
    return libraries, code


def _like(libraries: str, code: str) -> Release | None:
    """A release with these libraries, if possible with the same exporter, too."""
    same = [r for r in every() if r.environment == libraries]
    return next((r for r in same if r.code == code), same[0] if same else None)


def need_space(where: Path, megabytes: int) -> None:
    """Raises :class:`ProblemError` when the disk has less room than that."""
    free = shutil.disk_usage(where).free // 1_000_000
    if free < megabytes:
        raise ProblemError(
            f"only {free} MB are free below {where}, {megabytes} MB are needed; nothing was "
            "changed. `status` shows the disk; old logs and backups go first"
        )


def prune() -> None:
    """Keep the newest good releases, the last that failed, and what runs; drop the rest."""
    all_of_them = every()
    stay = {r.version for r in [r for r in all_of_them if r.good_at][:KEEP_RELEASES]}
    stay |= {r.version for r in [r for r in all_of_them if not r.good_at][:1]}
    stay |= {r.version for r in (current(), previous()) if r}
    for folder in RELEASES.iterdir():
        if folder.name not in stay:
            shutil.rmtree(folder, ignore_errors=True)
    for archive in INCOMING.iterdir():
        # One that is not built yet belongs to a deploy that waits for this one's end.
        is_built = find(archive.name.removesuffix(".tar.gz")) is not None
        if is_built or time.time() - archive.stat().st_mtime > 86400:
            archive.unlink(missing_ok=True)


def remember(**fields: object) -> None:
    """One line of history, which `status` shows, and one in systemd's journal."""
    journal(" ".join(f"{name}={value}" for name, value in fields.items() if value is not None))
    try:
        with HISTORY.open("a") as file:
            file.write(json.dumps({"at": time.time(), **fields}) + "\n")
    except OSError as error:
        say(f"{HISTORY} takes no line: {error.strerror}")  # a full disk stops no rollback
