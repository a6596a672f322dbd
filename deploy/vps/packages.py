"""Debian packages: there, there from a file, or not there."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from places import installed_deb
from shell import attempt, run

_APT = Path("/etc/apt")


@dataclass
class Packages:
    """Debian packages, without those they merely recommend."""

    names: list[str]

    def there(self) -> list[str]:
        """Those that are installed."""
        asked = attempt("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *self.names)
        found = {x.split()[0] for x in asked.stdout.splitlines() if x.endswith(" installed")}
        return [name for name in self.names if name in found]

    def _missing(self) -> list[str]:
        there = self.there()
        return [name for name in self.names if name not in there]

    def difference(self) -> str | None:
        missing = self._missing()
        return f"install {' '.join(missing)}" if missing else None

    def mend(self) -> None:
        run("dpkg", "--configure", "-a")  # what an interrupted installation left behind
        _update(_sources())
        _apt_get("install", "--no-install-recommends", *self._missing())


@dataclass
class Deb:
    """A package that is installed from a file, which is not kept."""

    name: str
    file: Path

    def difference(self) -> str | None:
        noted = installed_deb(self.name)
        last = noted.read_text() if noted.exists() else ""
        if last == self.file.name and Packages([self.name]).there():
            return None
        return f"install {self.name} from {self.file.name}"

    def mend(self) -> None:
        _update(_sources())
        _apt_get("install", "--no-install-recommends", "--allow-downgrades", str(self.file))
        installed_deb(self.name).write_text(self.file.name)
        self.file.unlink()


@dataclass
class Removed:
    """Packages that are not installed; their settings and data stay."""

    names: list[str]

    def difference(self) -> str | None:
        there = Packages(self.names).there()
        return f"remove {' '.join(there)}" if there else None

    def mend(self) -> None:
        _apt_get("remove", *self.names)


def _sources() -> tuple[tuple[str, int], ...]:
    """The files that say where packages come from, as they are now."""
    files = [_APT / "sources.list", *_APT.glob("sources.list.d/*"), *_APT.glob("keyrings/*")]
    return tuple(sorted((str(f), f.stat().st_mtime_ns) for f in files if f.is_file()))


@functools.lru_cache(maxsize=1)
def _update(sources: tuple[tuple[str, int], ...]) -> None:
    """Ask the sources what they have: once, unless there are others since."""
    _apt_get("update")


def _apt_get(*words: str) -> None:
    run(
        "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300",
        "-q", "-y", "-o", "Dpkg::Options::=--force-confold", *words,
    )  # fmt: skip
