"""The write token in its file, made at the first start; whoever may read the file may write."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from pathlib import Path

logger = logging.getLogger(__name__)


class TokenFile:
    """One file with one token."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lost: str | None = None
        """A token that the disk did not take."""

    def read_or_make(self) -> str:
        """The token. Where the file can neither be read nor written nobody can know it: writes
        over HTTP stay shut then, and all else goes on."""
        try:
            token = _read(self._path)
            if token is None:
                token = secrets.token_urlsafe(32)
                _write(self._path, token)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
            logger.error(
                "nothing can be written over HTTP, as %s cannot be used: %s", self._path, why,
                extra={"event": "no_token"},
            )  # fmt: skip
            self._lost = token = secrets.token_urlsafe(32)
        return token

    async def rescue(self) -> None:
        """Write what the disk did not take, once it does."""
        if self._lost is None or self._path.exists():
            return
        try:
            await asyncio.to_thread(_write, self._path, self._lost)
        except OSError:
            return
        self._lost = None
        logger.info("%s is there now", self._path, extra={"event": "token_written"})


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None


def _write(path: Path, token: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written aside and renamed: a kill half-way leaves no empty token behind.
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
