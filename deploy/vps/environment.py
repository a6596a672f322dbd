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

from shell import attempt, run

_OWN = "requirements.txt"
_PACKAGE = ("pyproject.toml", "README.md", "LICENSE")


def libraries(folder: Path) -> str:
    """Fingerprint of what the lock file and the trader's own name, for this Python."""
    own = folder / _OWN
    return _libraries(folder, own.read_bytes() if own.is_file() else b"")


def without_own(folder: Path) -> str:
    """The same of what the lock file names alone."""
    return _libraries(folder, b"")


def _libraries(folder: Path, own: bytes) -> str:
    lock = (folder / "requirements.lock").read_bytes()
    return hashlib.sha256(platform.python_version().encode() + lock + own).hexdigest()[:16]


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
        "--no-compile", "--require-hashes", "--only-binary=:all:",
        "-r", folder / "requirements.lock",
    )  # fmt: skip
    # On all cores, and without the libraries' own tests, which are a third of it. As with pip, a
    # file of another Python's is no mistake.
    attempt(venv / "bin/python", "-m", "compileall", "-q", "-j", "0", "-x", "/tests/", venv / "lib")
    install_own(folder)


def install_own(folder: Path) -> None:
    """Add what the trader's own file names, if there is one, to what the lock file names."""
    if not (folder / _OWN).is_file():
        return
    limits = folder / ".locked.txt"
    limits.write_text("\n".join(locked((folder / "requirements.lock").read_text())))
    run(
        folder / "venv/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check",
        "--only-binary=:all:", "-r", folder / _OWN, "-c", limits,
    )  # fmt: skip
    limits.unlink()


def locked(lock: str) -> list[str]:
    """The versions that a lock file names, without hashes: own packages may not change them."""
    found = re.findall(r"^[a-zA-Z0-9][^\\\n#]*", lock, re.MULTILINE)
    return [line.strip() for line in found]


def lend(theirs: Path, ours: Path) -> None:
    """Make the environment from that of a release with the same lock, its commands with it."""
    run("python3", "-m", "venv", "--without-pip", ours / "venv")
    [packages] = (theirs / "venv/lib").glob("python3*/site-packages")
    target = ours / packages.relative_to(theirs)
    shutil.rmtree(target)
    run("cp", "-al", packages, target)
    for command in (theirs / "venv/bin").iterdir():
        copy = ours / "venv/bin" / command.name
        if not copy.exists():
            copy.write_bytes(
                command.read_bytes().replace(f"{theirs}/".encode(), f"{ours}/".encode())
            )
            copy.chmod(0o755)


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
