"""Which files a followed path stands for: the one being written, and those that it was before.

The path's name may have wildcards, for programs that put the day into it
(``quant_????-??-??.log``); then the file that was written last is the one. What rotation made of
it, under any name that rotation gives, holds the lines that came before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase, translate
from pathlib import Path

_WILD = re.compile(r"[*?\[]")
_PACKED = (".gz", ".zip", ".bz2", ".xz", ".zst", ".lz4", ".tar")
_ROTATED = re.compile(r"[.\-_]?\d[\d.\-_:T]*")
"""What rotation puts into a name: bot.log.1, bot.log-20261124, bot.2026-11-24_00-00-00.log."""

_Found = tuple[Path, os.stat_result]


def is_wild(path: Path) -> bool:
    """Whether the path stands for several files, of which the newest one counts."""
    return _WILD.search(path.name) is not None


def current(wanted: Path) -> Path | None:
    """The file that is written, or None. Raises :class:`OSError` for a folder that cannot be
    read."""
    if not is_wild(wanted):
        return wanted
    files = list(_files(wanted.parent, lambda name: _matches(wanted, name)))
    return max(files, key=_age)[0] if files else None


def opened(path: Path) -> int:
    """A file descriptor. Raises :class:`OSError`, also for anything but a regular file: opening a
    named pipe would be noticed at its other end."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file but a pipe or a device")
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def with_inode(path: Path, device: int, inode: int) -> list[Path]:
    """Files next to `path`, under other names, that have this inode."""
    return [
        file
        for file, status in _next_to(path, lambda place, name: True)
        if (status.st_dev, status.st_ino) == (device, inode)
    ]


def relatives(wanted: Path, path: Path) -> list[Path]:
    """Files that were `path` before, or that `wanted` matches or matched as well, in the order in
    which they were written. Compressed ones are not among them."""

    def fits(place: Path, name: str) -> bool:
        return (
            _is_rotated(name, place) or _matches(wanted, name) or _is_rotated_of_any(wanted, name)
        )

    return [file for file, _ in sorted(_next_to(path, fits), key=_age)]


def others(wanted: Path, path: Path) -> list[Path]:
    """Other files than `path` that a path with wildcards matches, newest last."""
    fitting = _next_to(path, lambda _, name: _matches(wanted, name))
    return [file for file, _ in sorted(fitting, key=_age)]


def _matches(wanted: Path, name: str) -> bool:
    return is_wild(wanted) and fnmatchcase(name, wanted.name) and not name.endswith(_PACKED)


def _is_rotated_of_any(wanted: Path, name: str) -> bool:
    """Whether it is the rotated form of a name that a path with wildcards matches."""
    if not is_wild(wanted):
        return False
    stem, suffix = (_inner(translate(part)) for part in (wanted.stem, wanted.suffix))
    rotated = f"(?:{_ROTATED.pattern})?"
    return re.fullmatch(f"{stem}{rotated}{suffix}{rotated}", name) is not None


def _inner(pattern: str) -> str:
    r"""Of fnmatch's (?s:…)\Z or \z what is within."""
    return f"(?:{pattern[pattern.index(':') + 1 : pattern.rindex(')')]})"


def _is_rotated(name: str, path: Path) -> bool:
    """Whether `name` is what rotation makes of `path`'s name."""
    if name.startswith(path.name):
        return _ROTATED.fullmatch(name.removeprefix(path.name)) is not None
    middle = name.removeprefix(path.stem).removesuffix(path.suffix)
    return len(middle) + len(path.name) == len(name) and _ROTATED.fullmatch(middle) is not None


def _age(found: _Found) -> tuple[int, str]:
    return found[1].st_mtime_ns, found[0].name


def _next_to(path: Path, fits: Callable[[Path, str], bool]) -> Iterator[_Found]:
    """Fitting files in the path's folder without itself; for a link, in its target's folder too."""
    places = [path, path.resolve()] if path.is_symlink() else [path]
    for folder in dict.fromkeys(place.parent for place in places):
        here = [place for place in places if place.parent == folder]
        names = {place.name for place in here}

        def wanted(name: str, here: list[Path] = here, names: set[str] = names) -> bool:
            return name not in names and any(fits(place, name) for place in here)

        with contextlib.suppress(OSError):
            yield from _files(folder, wanted)


def _files(folder: Path, fits: Callable[[str], bool]) -> Iterator[_Found]:
    """Regular files; one that vanishes meanwhile is skipped."""
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                if fits(entry.name) and entry.is_file(follow_symlinks=False):
                    yield Path(entry.path), entry.stat(follow_symlinks=False)
            except OSError:
                continue
