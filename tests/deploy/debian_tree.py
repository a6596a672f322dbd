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
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.markers import Marker

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
    """The Debian release of this machine; so is the VPS, unless a test says another."""
    return platform.freedesktop_os_release()["VERSION_CODENAME"]


def origins(release: str = "") -> list[Origin]:
    """The archives of a Debian release, by default this machine's: those that apt uses here, the
    main one first. Another release's lie at the same places."""
    here = _origins_here()
    if release in ("", codename()):
        return here
    return [replace(o, suite=o.suite.replace(codename(), release)) for o in here]


def _origins_here() -> list[Origin]:
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)",
         "Identifier: Packages"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = {Origin(*line.split()) for line in asked.stdout.splitlines() if len(line.split()) == 3}
    mine = [o for o in found if o.suite.startswith(codename()) and o.component == "main"]
    return sorted(mine, key=lambda o: (o.suite != codename(), o.suite))


def tree(packages: str = _PACKAGES, release: str = "") -> Path:
    """A minimal Debian with these packages, made when it is not there yet (about a minute)."""
    release = release or codename()
    target = cache() / f"{release}-{hashlib.sha256(packages.encode()).hexdigest()[:16]}"
    with _alone(target):
        if not target.exists():
            draft = target.with_suffix(".draft")
            shutil.rmtree(draft, ignore_errors=True)
            made = subprocess.run(
                ["debootstrap", "--variant=minbase", f"--include={packages}", release, draft,
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
            draft.mkdir()
            theirs = draft / "requirements.lock"
            theirs.write_text(lock_for(lock.read_text(), python))
            subprocess.run(
                [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                 "--disable-pip-version-check", "--require-hashes", "--only-binary=:all:",
                 "--implementation=cp", f"--python-version={python}",
                 *(f"--platform={p}_{platform.machine()}" for p in platforms), "--platform=any",
                 "--dest", draft, "--requirement", theirs],
                check=True, stderr=subprocess.DEVNULL, timeout=600,
            )  # fmt: skip
            draft.rename(target)
    return target


def lock_for(lock: str, python: str) -> str:
    """What of a lock file another Python needs, without markers: pip asks those of the Python that
    runs it, whatever --python-version says."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    kept: list[str] = []
    needed = True
    for line in lock.splitlines():
        if line[:1].isalnum():
            requirement, _, marker = line.rstrip("\\ ").partition(" ; ")
            needed = not marker or Marker(marker).evaluate(environment)
            line = f"{requirement} \\"
        if needed:
            kept.append(line)
    return "\n".join([*kept, ""])


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One maker at a time, also among several test runs on this machine."""
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
