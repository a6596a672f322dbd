"""The empty VPS: a Debian as a provider hands it over, made once and kept between runs.

It lies outside the checkout, so that it outlives it: ``~/.cache/quant-exporter-tests``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# What a provider's image has and a minimal debootstrap lacks.
_PACKAGES = "systemd,systemd-sysv,dbus,openssh-server,sudo,ca-certificates,iproute2,python3"
_PROGRAMS = (
    "debootstrap", "systemd-nspawn", "ip", "nsenter", "ssh", "ssh-keygen", "mkfs.ext4", "git",
)  # fmt: skip


class NoVpsError(Exception):
    """This machine cannot boot another; the sentence says why."""


@dataclass(frozen=True)
class Origin:
    """One Debian archive that this machine's apt uses."""

    site: str
    suite: str
    component: str

    @property
    def line(self) -> str:
        """For sources.list; over plain HTTP, because the test's own relay carries it."""
        return f"deb {re.sub('^https', 'http', self.site)} {self.suite} {self.component}"


def cache() -> Path:
    """Where trees, packages and wheels are kept."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "quant-exporter-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def why_not() -> str | None:
    """Why no VPS can be booted here, or None."""
    if os.geteuid() != 0:
        return "booting a Debian needs root"
    missing = [p for p in _PROGRAMS if not shutil.which(p)]
    if missing:
        return f"{', '.join(missing)} missing; tools/install-test-packages installs what has it"
    system = platform.freedesktop_os_release()
    if system.get("ID") != "debian":
        return "the packages of the VPS come from this machine's Debian mirror; this is no Debian"
    if not origins():
        return "apt knows no Debian archive here; run `apt-get update`"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        return f"no namespaces of its own here, as in a container: {tried.stderr.strip()}"
    return None


def codename() -> str:
    """The Debian release of this machine; the VPS is the same."""
    return platform.freedesktop_os_release()["VERSION_CODENAME"]


def origins() -> list[Origin]:
    """The archives of this Debian release that apt uses here, the main one first."""
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)",
         "Identifier: Packages"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = {Origin(*line.split()) for line in asked.stdout.splitlines() if len(line.split()) == 3}
    mine = [o for o in found if o.suite.startswith(codename()) and o.component == "main"]
    return sorted(mine, key=lambda o: (o.suite != codename(), o.suite))


def tree(packages: str = _PACKAGES) -> Path:
    """A minimal Debian with these packages, made when it is not there yet (about a minute)."""
    target = cache() / f"{codename()}-{hashlib.sha256(packages.encode()).hexdigest()[:16]}"
    with _alone(target):
        if not target.exists():
            draft = target.with_suffix(".draft")
            shutil.rmtree(draft, ignore_errors=True)
            made = subprocess.run(
                ["debootstrap", "--variant=minbase", f"--include={packages}", codename(), draft,
                 origins()[0].site],
                capture_output=True, text=True, check=False, timeout=900,
            )  # fmt: skip
            if made.returncode:
                said = [*made.stdout.splitlines(), *made.stderr.splitlines()]
                raise NoVpsError(f"debootstrap makes no Debian here: {' / '.join(said[-3:])}")
            shutil.rmtree(draft / "var/cache/apt/archives")
            draft.rename(target)
    return target


def wheels(lock: Path, python: str) -> Path:
    """A folder with a wheel for each line of the lock file: the package index of the VPS."""
    name = hashlib.sha256(lock.read_bytes() + python.encode()).hexdigest()[:16]
    target = cache() / f"wheels-{name}"
    platforms = ["manylinux2014", *(f"manylinux_2_{n}" for n in (17, 24, 26, 27, 28, 31, 34))]
    with _alone(target):
        if not target.exists():
            draft = target.with_suffix(".draft")
            shutil.rmtree(draft, ignore_errors=True)
            subprocess.run(
                [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                 "--disable-pip-version-check", "--require-hashes", "--only-binary=:all:",
                 "--implementation=cp", f"--python-version={python}",
                 *(f"--platform={p}_{platform.machine()}" for p in platforms), "--platform=any",
                 "--dest", draft, "--requirement", lock],
                check=True, stderr=subprocess.DEVNULL, timeout=600,
            )  # fmt: skip
            draft.rename(target)
    return target


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One maker at a time, also among several test runs on this machine."""
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
