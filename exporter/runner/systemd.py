"""What systemd knows of services: asked by ``systemctl``, which speaks to it over D-Bus."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from exporter.util.nan import NAN

Scope = Literal["system", "user"]

_PROPERTIES = (
    "Id,LoadState,LoadError,ActiveState,SubState,Type,RemainAfterExit,Result,ExecMainCode,"
    "ExecMainStatus,NRestarts,ActiveEnterTimestampMonotonic,ActiveExitTimestampMonotonic"
)
_UP = frozenset(("active", "reloading", "refreshing"))
_SECONDS = 10.0
_LINES = 20
_OUTPUT_BYTES = 4_000_000


class SystemdError(Exception):
    """systemd cannot be asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A service as systemd has it."""

    name: str
    load: str
    """loaded, masked, not-found, bad-setting, error."""
    active: str
    """active, reloading, inactive, failed, activating, deactivating."""
    sub: str = ""
    result: str = "success"
    """How it ended: exit-code, signal, timeout, oom-kill, start-limit-hit, …"""
    status: int = 0
    """Its exit status, or the number of the signal that ended it."""
    restarts: int = 0
    """How often systemd itself restarted it since it was last started by somebody."""
    since: float = NAN
    """Since when it has been up, or not: seconds on the machine's monotonic clock."""
    ends_itself: bool = False
    """It does its work and ends, as what a timer starts."""
    left_nothing: bool = False
    """None of its processes is left, though it counts as active and is not a oneshot."""

    @property
    def up(self) -> bool:
        """Whether it runs. `active (exited)` is what `RemainAfterExit=yes`, as start scripts have
        it, makes of a program that has ended."""
        return self.load == "loaded" and self.active in _UP and not self.left_nothing

    @property
    def trouble(self) -> str:
        """Why it is not up, in words after its name; empty when it is."""
        match self.load:
            case "loaded":
                return "" if self.up else self._down
            case "masked":
                return f"is masked: systemctl unmask {self.name}"
            case "not-found":
                return "is unknown to systemd: install its unit, or correct the name"
            case load:
                return f"cannot be loaded ({load}): see systemctl status {self.name}"

    @property
    def _down(self) -> str:
        match self.active:
            case _ if self.left_nothing:
                return (
                    f"is called active by systemd, but its program has ended with exit status "
                    f"{self.status}: remove RemainAfterExit=yes from its unit"
                )
            case "failed":
                return f"has failed ({self._how})"
            case "activating" if self.sub.startswith("auto-restart"):
                return f"ended ({self._how}) and waits for its restart"
            case "activating":
                return "is starting"
            case "deactivating":
                return "is stopping"
            case _:
                return "is stopped"

    @property
    def _how(self) -> str:
        match self.result:
            case "exit-code":
                return f"exit status {self.status}"
            case "signal" | "core-dump":
                return f"{self.result.replace('-', ' ')} {self.status}"
            case _:
                return self.result.replace("-", " ")


class Systemd:
    """Asks systemd and its journal, each time in a process of its own that ends in time."""

    async def units(self, names: Sequence[str], scope: Scope) -> dict[str, Unit]:
        """By name as given, aliases too. Raises :class:`SystemdError`."""
        command = ["systemctl", *_whose(scope), "show", f"--property={_PROPERTIES}", "--", *names]
        status, out, err = await _output(command)
        found = read_units(out, names)
        if len(found) < len(set(names)):
            said = err.strip().splitlines()
            why = said[-1] if said else f"systemctl ended with exit status {status}"
            raise SystemdError(why)
        return found

    async def journal(self, name: str, scope: Scope) -> str:
        """The last lines of the service's own programs; empty where they may not be read."""
        # Not --unit: that has what systemd says of it, too, and its programs say why they ended.
        unit = "_SYSTEMD_USER_UNIT" if scope == "user" else "_SYSTEMD_UNIT"
        command = [
            "journalctl", *_whose(scope), f"--lines={_LINES}", "--output=cat", "--no-pager",
            "--quiet", f"{unit}={name}",
        ]  # fmt: skip
        try:
            status, out, _ = await _output(command)
        except SystemdError:
            return ""
        return "" if status else out.strip()


def read_units(shown: str, names: Sequence[str]) -> dict[str, Unit]:
    """From what ``systemctl show`` prints: a block a name, in the order of the names."""
    blocks = [block for block in re.split(r"\n\s*\n", shown.strip()) if "LoadState=" in block]
    if len(blocks) != len(names):
        return {}
    return {
        name: _unit(name, dict(line.partition("=")[::2] for line in block.splitlines()))
        for name, block in zip(names, blocks, strict=True)
    }


def _unit(name: str, shown: Mapping[str, str]) -> Unit:
    active = shown.get("ActiveState", "")
    exited = active in _UP and shown.get("SubState") == "exited"
    moment = "ActiveEnterTimestampMonotonic" if active in _UP else "ActiveExitTimestampMonotonic"
    since = _number(shown.get(moment, ""))
    return Unit(
        name,
        shown.get("LoadState", ""),
        active,
        shown.get("SubState", ""),
        shown.get("Result", ""),
        _number(shown.get("ExecMainStatus", "")),
        _number(shown.get("NRestarts", "")),
        since / 1e6 if since else NAN,
        shown.get("Type") == "oneshot" and shown.get("RemainAfterExit") == "no",
        exited and shown.get("Type") != "oneshot",
    )


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _whose(scope: Scope) -> list[str]:
    return ["--user"] if scope == "user" else []


async def _output(command: Sequence[str]) -> tuple[int, str, str]:
    """Exit status, output and errors. Raises :class:`SystemdError`."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, start_new_session=True,
            env={**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
        )  # fmt: skip
    except OSError as error:
        raise SystemdError(f"{command[0]} cannot be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(_SECONDS):
            out, err = await process.communicate()
    except TimeoutError as error:
        raise SystemdError(f"{command[0]} did not answer within {_SECONDS:.0f} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    shown = out[-_OUTPUT_BYTES:].decode("utf-8", "replace")
    return process.returncode or 0, shown, err.decode("utf-8", "replace")
