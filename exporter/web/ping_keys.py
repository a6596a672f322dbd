"""The addresses at which external tasks ping: one UUID a task, and one key for all of them.

Nothing else can be done with them. They follow from a secret of the installation that state keeps,
so that none has to be made before it is shown; renewing one counts its generation up.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from exporter.config.phrases import unknown_task
from exporter.state import StateError
from exporter.util.atomic import write as write_file
from exporter.web.guard import PING_PATH

log = logging.getLogger(__name__)

_SECRET, _TASKS, _KEY = "ping_secret", "ping_generation", "ping_key_generation"
_INSTALLATION = "installation"
ACTIONS = ("start", "fail", "log")
EXIT_STATUS = "-?[0-9]{1,10}"
"""Windows has larger ones than 255, and Python's subprocess says -9 of what was killed."""


class PingKeyStore(Protocol):
    """What is used of :class:`exporter.state.State`."""

    def kept(self, kind: str) -> dict[str, Any]: ...
    async def keep(self, kind: str, name: str, value: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class PingTarget:
    """What an address means: a task, and ``start``, ``fail``, ``log`` or an exit status."""

    task: str
    action: str


@dataclass(frozen=True, slots=True)
class _Address:
    """What stands in a path; `task` is the one that it may ping."""

    task: str | None
    action: str
    slug: str
    has_key: bool

    @property
    def is_action(self) -> bool:
        return self.action in ACTIONS or re.fullmatch(EXIT_STATUS, self.action) is not None


class PingKeys:
    """Makes addresses, and finds the task of one."""

    def __init__(self, state: PingKeyStore, add_secret: Callable[[str], None]) -> None:
        self._state, self._add_secret = state, add_secret
        self._tasks: list[str] | None = None
        self._uuids: dict[str, str] = {}
        self._key = self._noted = ""

    @property
    def ready(self) -> bool:
        """Whether the tasks and the secret are known."""
        return self._tasks is not None and bool(self._key)

    async def ensure(self) -> None:
        """Make sure that there is a secret; it is saved before an address is shown."""
        if not self._state.kept(_SECRET):
            try:
                await self._state.keep(_SECRET, _INSTALLATION, secrets.token_hex(32))
            except StateError:
                return  # nothing durable can be accepted now anyway
        if not self._key:
            self._derive()

    async def note_url(self, path: Path, server: str) -> None:
        """Write the key's address to a file, for :mod:`exporter.cli.exec_wrapper`. Raises
        :class:`OSError`."""
        url = f"{server}{PING_PATH}{self._key}"
        if self.ready and url != self._noted:
            await asyncio.to_thread(write_file, path, f"{url}\n", mode=0o600)
            self._noted = url

    def apply(self, tasks: Iterable[str]) -> None:
        """Use the external tasks of a config."""
        self._tasks = list(tasks)
        self._derive()

    async def renew(self, task: str | None) -> None:
        """Give a task a new UUID, or (None) the installation a new key; the old one ends at once.
        Raises :class:`StateError`."""
        kind, name = (_KEY, _INSTALLATION) if task is None else (_TASKS, task)
        await self._state.keep(kind, name, self._generation(kind, name) + 1)
        self._derive()

    def paths(self, task: str) -> tuple[str, str] | None:
        """By the task's UUID, and by key and name. None while there is no secret yet. Raises
        :class:`KeyError` for a task that is not external."""
        if not self.ready:
            return None
        return f"{PING_PATH}{self._uuids[task]}", f"{PING_PATH}{self._key}/{task}"

    def find(self, path: str) -> PingTarget | None:
        """The meaning of a request's path. Whether a key is wrong, a task is not there, or neither,
        cannot be told from the answer or the time that it takes without the key."""
        read = self._read(path)
        return PingTarget(read.task, read.action) if read.task and read.is_action else None

    def problem(self, path: str) -> str | None:
        """What is wrong with an address, None if nothing; whoever has neither key nor UUID does not
        get to know more than that it means nothing."""
        read = self._read(path)
        if not self.ready or (read.task and read.is_action):
            return None
        if read.task:
            return (
                f"there is no {read.action!r}: after the task write nothing, start, fail, log or "
                "an exit status"
            )
        if not read.has_key:
            return "not found"
        if not read.slug:
            return "the address lacks the name of a task at its end"
        tasks = list(self._uuids)
        text = unknown_task(read.slug, tasks).replace("no task", "no external task")
        if not tasks:
            return f"{text}: none is configured (`external: true`)"
        return text if text.endswith("?") else f"{text}; there are {', '.join(tasks[:10])}"

    def _read(self, path: str) -> _Address:
        given, *rest = path.removeprefix(PING_PATH).rstrip("/").split("/")
        uuid = _uuid(given)
        slug = "" if uuid or not rest else rest.pop(0)
        has_key = bool(self._key) and _same(given, self._key)
        task = self._task_of(given if uuid is None else uuid, slug, has_key=has_key)
        action = "/".join(rest).lower() or "0"
        return _Address(task, action, slug, has_key=has_key)

    def _task_of(self, given: str, slug: str, *, has_key: bool) -> str | None:
        found = None
        # Healthchecks.io writes slugs with dashes.
        name = slug.lower().replace("-", "_")
        for task, uuid in self._uuids.items():
            by_uuid, by_name = _same(given, uuid), _same(name, task)
            if by_uuid or (by_name and has_key):
                found = task
        return found

    def _derive(self) -> None:
        secret = self._state.kept(_SECRET).get(_INSTALLATION)
        if not secret:
            return
        self._key = self._make(secret, "key", self._generation(_KEY, _INSTALLATION), 18)
        self._uuids = {}
        for task in self._tasks or ():
            made = self._digest(secret, f"task {task}", self._generation(_TASKS, task))
            self._uuids[task] = str(UUID(bytes=made[:16], version=4))
        for text in (self._key, *self._uuids.values()):
            self._add_secret(text)

    def _make(self, secret: str, what: str, generation: int, size: int) -> str:
        return urlsafe_b64encode(self._digest(secret, what, generation)[:size]).decode()

    @staticmethod
    def _digest(secret: str, what: str, generation: int) -> bytes:
        return hmac.digest(secret.encode(), f"{what} {generation}".encode(), hashlib.sha256)

    def _generation(self, kind: str, name: str) -> int:
        return int(self._state.kept(kind).get(name) or 0)


def _uuid(text: str) -> str | None:
    try:
        return str(UUID(text)) if len(text) in (32, 36) else None
    except ValueError:
        return None


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogateescape"), other.encode())
