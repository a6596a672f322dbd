"""Releases on the machine: each a folder of its own, with its own locked environment.

``releases/VERSION/`` holds the tree as committed, ``venv/`` and ``.release.json``; ``var`` in it
leads to the state folder, so that relative paths in ``exporter.yml`` outlive the release.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from places import CURRENT, HISTORY, INCOMING, KEEP_RELEASES, RELEASES, STATE, USER, ProblemError
from places import release as folder_of
from shell import as_service, attempt, journal, run, say, tail

_ABOUT = """
import json, sys
from pathlib import Path
from exporter import config
from exporter.state import schema
c = config.load(Path(sys.argv[1]))
print(json.dumps({
    "listen": list(c.address), "state": str(c.state), "logs": str(c.logs.directory),
    "simulated": sorted(n for n, s in c.sources.items() if s.type == "simulated"),
    "tasks": sorted(c.tasks), "schema": len(schema.MIGRATIONS),
    "uninterruptible": sorted(n for n, t in c.tasks.items() if not t.may_be_interrupted),
    "punctual": sorted(
        n for n, t in c.tasks.items() if not t.catches_up and t.kind != "external"
    ),
    "programs": {
        "memory": c.programs.memory, "processes": c.programs.processes,
        "write": [str(p) for p in c.programs.write],
    },
}))
"""


@dataclass(frozen=True)
class About:
    """What the machine needs to know of a release, told by the release's own code."""

    listen: tuple[str, int]
    state: str
    logs: str
    simulated: list[str]
    tasks: list[str]
    schema: int
    uninterruptible: list[str]
    punctual: list[str] = field(default_factory=list)
    """Tasks whose slots are lost when the exporter is down for them."""
    programs: dict[str, Any] = field(default_factory=dict)
    """Limits of the user's own programs: memory, processes, write."""

    @classmethod
    def of(cls, known: dict[str, Any]) -> About:
        """From what was written down, also by an older or a newer version of this tool."""
        names = {f.name for f in fields(cls)}
        told = {name: value for name, value in known.items() if name in names}
        return cls(**{**told, "listen": tuple(known["listen"])})

    @property
    def url(self) -> str:
        """Where the exporter answers."""
        host, port = self.listen
        return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"  # noqa: S104


@dataclass(frozen=True)
class Release:
    """One version that is built."""

    version: str
    environment: str
    built_at: float
    good_at: float | None
    about: About

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
    about = known.pop("about")
    return Release(about=About.of(about), **known)


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
    folder, archive = folder_of(version), INCOMING / f"{version}.tar.gz"
    if not archive.is_file():
        raise ProblemError(f"{archive} is not there; upload it first")
    need_space(RELEASES, 700)
    if folder.exists():
        say(f"clearing what an interrupted deploy left in {folder}")
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True)
        run("tar", "-xzf", archive, "-C", folder, "--no-same-owner", "--no-same-permissions")
        shutil.rmtree(folder / "var", ignore_errors=True)
        (folder / "var").symlink_to(STATE)
        environment = _environment(folder)
        about = _about(folder)
        release = Release(version, environment, time.time(), None, about)
        release.note()
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ProblemError(f"{version} cannot be built: {error}") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return release


def _environment(folder: Path) -> str:
    """Make ``venv`` from the lock file alone; returns the environment's fingerprint.

    A release with the same lock lends its files as hard links: they are never changed in place.
    """
    lock = (folder / "requirements.lock").read_bytes()
    fingerprint = hashlib.sha256(platform.python_version().encode() + lock).hexdigest()[:16]
    venv = folder / "venv"
    like = next((r for r in every() if r.environment == fingerprint), None)
    if like:
        say(f"environment: the same as that of {like.version}")
        run("python3", "-m", "venv", "--without-pip", venv)
        [theirs] = (like.folder / "venv/lib").glob("python3*/site-packages")
        ours = venv / theirs.relative_to(like.folder / "venv")
        shutil.rmtree(ours)
        run("cp", "-al", theirs, ours)
    else:
        say("environment: installing what the lock file names")
        run("python3", "-m", "venv", venv)
        run(
            venv / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check",
            "--require-hashes", "--only-binary=:all:", "-r", folder / "requirements.lock",
        )  # fmt: skip
    source = folder / ".source"
    shutil.copytree(folder / "exporter", source / "exporter")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(folder / name, source)
    run(
        venv / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check",
        "--force-reinstall", "--no-deps", "--no-index", "--no-build-isolation", source,
    )  # fmt: skip
    shutil.rmtree(source)
    return fingerprint


def _about(folder: Path) -> About:
    config = folder / "exporter.yml"
    checked = as_service(folder / "venv/bin/quant-exporter", "check", "--config", config)
    if checked.returncode:
        raise ProblemError(f"the new version refuses its configuration:\n{tail(checked)}")
    told = attempt(folder / "venv/bin/python", "-c", _ABOUT, config)
    if told.returncode:
        raise ProblemError(f"the new version cannot be asked about itself:\n{tail(told)}")
    known = json.loads(told.stdout.splitlines()[-1])
    for key in ("state", "logs"):
        path = str(Path(known[key]).resolve())
        if not path.startswith(("/var/lib/quant-exporter/", "/var/log/quant-exporter")):
            raise ProblemError(
                f"exporter.yml: {key}: {path} cannot be written on the VPS; write a path below "
                "var/, which lies in /var/lib/quant-exporter there"
            )
    _other_configs(folder)
    about = About.of(known)
    if missing := [path for path in about.programs["write"] if not Path(path).is_dir()]:
        raise ProblemError(
            f"exporter.yml: programs.write: {missing[0]} is no folder on the VPS; make it there "
            f"first, and let the user {USER} write in it"
        )
    return about


def _other_configs(folder: Path) -> None:
    """Prometheus' and Alertmanager's own checks of the files that come with the release."""
    for program, arguments, file in (
        ("promtool", ["check", "config"], folder / "prometheus/prometheus.yml"),
        ("amtool", ["check-config"], folder / "alerting/alertmanager.yml"),
    ):
        if file.exists() and shutil.which(program):
            result = attempt(program, *arguments, file)
            if result.returncode:
                raise ProblemError(f"{program} refuses {file.name}:\n{tail(result)}")


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
