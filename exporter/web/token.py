"""The write token in its file, created at the first start; whoever can read the file may write."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from pathlib import Path

from exporter.util.atomic import private_folder

logger = logging.getLogger(__name__)


class TokenFile:
    """One file with one token."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lost: str | None = None
        """A token that could not be written yet."""

    def read_or_make(self) -> str:
        """The token. When the file can be neither read nor written, nobody can know it: writes
        over HTTP are refused then, and everything else works."""
        try:
            token = _read(self._path)
            if token is None:
                token = secrets.token_urlsafe(32)
                _write(self._path, token)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
            logger.error(
                "writes over HTTP are refused, because %s cannot be used: %s", self._path, why,
                extra={"event": "no_token"},
            )  # fmt: skip
            self._lost = token = secrets.token_urlsafe(32)
        return token

    async def rescue(self) -> None:
        """Write a token that could not be written before."""
        if self._lost is None or self._path.exists():
            return
        try:
            await asyncio.to_thread(_write, self._path, self._lost)
        except OSError:
            return
        self._lost = None
        logger.info("%s was created", self._path, extra={"event": "token_written"})


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None


def _write(path: Path, token: str) -> None:
    private_folder(path.parent)
    # Written to another name and renamed: a kill midway leaves no empty token.
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
