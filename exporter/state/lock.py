"""One scheduler per state file. The lock guards only that role; readers need none.

It is a ``flock`` on ``<state file>.lock``, so it ends with the process, however that ends. The lock
file stays: deleting it would let a second scheduler in.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from exporter.state.models import AlreadyRunning


class SchedulerLock:
    """Held from :meth:`hold` to :meth:`release`."""

    def __init__(self, state_file: Path) -> None:
        self._state_file = state_file
        self._path = state_file.with_name(state_file.name + ".lock")
        self._held: int | None = None
        self._held_folder: int | None = None

    def hold(self) -> None:
        """Take the role, or keep it. Raises :class:`AlreadyRunning`, or :class:`OSError` when
        that cannot be determined (the folder cannot be created or read)."""
        if self._held is not None:
            self._keep(self._held)
            return
        try:
            self._held = self._lock_file()
        except OSError:
            # A read-only folder has no room for a lock file, so the folder itself is locked until
            # the file can be created. Whoever holds the file checks the folder too.
            if self._held_folder is None:
                self._held_folder = self._lock_folder(fcntl.LOCK_EX, keep=True)
            return
        self._release_folder()

    def _keep(self, held: int) -> None:
        """Somebody may have deleted the file: then whoever comes must find a new one locked. Where
        another scheduler came first, this one has lost its role."""
        with suppress(OSError):  # no folder, or one that cannot be written: nobody else can come
            if not _same_file(held, self._path):
                self._held = self._lock_file()
                os.close(held)

    def _lock_file(self) -> int:
        while True:
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError:  # an existing file can be locked without writing
                descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._flock(descriptor, fcntl.LOCK_EX)
                if self._held_folder is None:
                    self._lock_folder(fcntl.LOCK_SH, keep=False)
                if _same_file(descriptor, self._path):
                    with suppress(OSError):  # the lock holds without the pid too
                        os.ftruncate(descriptor, 0)
                        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # deleted between opening and locking

    def _lock_folder(self, how: int, *, keep: bool) -> int | None:
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        try:
            self._flock(descriptor, how)
        except BaseException:
            os.close(descriptor)
            raise
        if keep:
            return descriptor
        os.close(descriptor)
        return None

    def _flock(self, descriptor: int, how: int) -> None:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(self._state_file, self._owner()) from None

    def _owner(self) -> int | None:
        try:
            return int(self._path.read_text())
        except (OSError, ValueError):
            return None

    def _release_folder(self) -> None:
        if self._held_folder is not None:
            os.close(self._held_folder)
            self._held_folder = None

    def release(self) -> None:
        """Give the role back, if it is held."""
        self._release_folder()
        if self._held is not None:
            os.close(self._held)
            self._held = None


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
