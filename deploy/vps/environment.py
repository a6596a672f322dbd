"""A release's own environment, ``venv``: from the lock file, the trader's own ``requirements.txt``
where there is one, and the exporter in it.

A release with the same lock lends its files as hard links: they are never changed in place.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import tomllib
from pathlib import Path

from shell import run

_OWN = "requirements.txt"
_PACKAGE = ("pyproject.toml", "README.md", "LICENSE")


def libraries(folder: Path) -> str:
    """Fingerprint of what the lock file and the trader's own name, for this Python."""
    lock = (folder / "requirements.lock").read_bytes()
    own = folder / _OWN
    named = lock + own.read_bytes() if own.is_file() else lock
    return hashlib.sha256(platform.python_version().encode() + named).hexdigest()[:16]


def code(folder: Path) -> str:
    """Fingerprint of the exporter: of every file that is installed."""
    fingerprint = hashlib.sha256()
    for file in _installed_files(folder):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        fingerprint.update(f"{file.relative_to(folder)} {content}\n".encode())
    return fingerprint.hexdigest()[:16]


def _installed_files(folder: Path) -> list[Path]:
    """Whatever pyproject.toml puts into the package, and what it needs to build it."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    packaged = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    files = []
    for name in (*_PACKAGE, *packaged):
        place = folder / name
        files += [place] if place.is_file() else sorted(place.rglob("*"))
    return [file for file in files if file.is_file() and file.suffix != ".pyc"]


def install(folder: Path) -> None:
    """Make the environment, hashes checked, and nothing built."""
    venv = folder / "venv"
    run("python3", "-m", "venv", venv)
    run(
        venv / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check",
        "--require-hashes", "--only-binary=:all:", "-r", folder / "requirements.lock",
    )  # fmt: skip
    if (folder / _OWN).is_file():
        limits = folder / ".locked.txt"
        limits.write_text("\n".join(locked((folder / "requirements.lock").read_text())))
        run(
            venv / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check",
            "--only-binary=:all:", "-r", folder / _OWN, "-c", limits,
        )  # fmt: skip
        limits.unlink()


def locked(lock: str) -> list[str]:
    """The versions that a lock file names, without hashes: own packages may not change them."""
    found = re.findall(r"^[a-zA-Z0-9][^\\\n#]*", lock, re.MULTILINE)
    return [line.strip() for line in found]


def lend(theirs: Path, ours: Path) -> None:
    """Make the environment from that of a release with the same lock."""
    run("python3", "-m", "venv", "--without-pip", ours / "venv")
    [packages] = (theirs / "venv/lib").glob("python3*/site-packages")
    target = ours / packages.relative_to(theirs)
    shutil.rmtree(target)
    run("cp", "-al", packages, target)


def lend_program(theirs: Path, ours: Path) -> None:
    """The command, of a release whose exporter is the same and came along with the libraries."""
    name = "venv/bin/quant-exporter"
    text = (theirs / name).read_text().replace(f"{theirs}/", f"{ours}/")
    (ours / name).write_text(text)
    (ours / name).chmod(0o755)


def install_exporter(folder: Path) -> None:
    """Install this release's exporter in place of what is there."""
    source = folder / ".source"
    for file in _installed_files(folder):
        copy = source / file.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    run(
        folder / "venv/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check",
        "--force-reinstall", "--no-deps", "--no-index", "--no-build-isolation", source,
    )  # fmt: skip
    shutil.rmtree(source)
