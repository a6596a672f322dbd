"""A shell in a real terminal, and a picture of what stood on it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import html
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path

COLUMNS, ROWS = 110, 34
_PATIENCE = 60.0
_PROMPT = re.compile(r"\x1b\]777;(\d+)\x07.*?\$ ", re.DOTALL)
"""Before each prompt the shell sends the exit status of the last command, in a sequence of which a
terminal shows nothing."""
_CONTROL = re.compile(r"\x1b\][^\x07]*\x07|\x1b\[[0-9;?]*[A-Za-z]")
_RC = "PS1='$ '; PS2=''; PROMPT_COMMAND='printf \"\\033]777;$?\\007\"'; unset HISTFILE\n"


class Terminal:
    """Lines typed one after another into a shell; `text` is what has stood on the screen since the
    last :meth:`clear`. Make it on the running loop, which reads it all the time."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        rc = folder.parent / "terminal.bashrc"
        rc.write_text(_RC)
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._shell = subprocess.Popen(
            ["bash", "--rcfile", str(rc), "-i"], cwd=folder, stdin=theirs, stdout=theirs,
            stderr=theirs, env={**os.environ, **environ, "TERM": "xterm"}, start_new_session=True,
            preexec_fn=_take_terminal,
        )  # fmt: skip
        os.close(theirs)
        self._raw, self._seen = "", 0
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._ours, self._read)

    def _read(self) -> None:
        try:
            self._raw += os.read(self._ours, 65536).decode(errors="replace")
        except OSError:  # the shell has ended
            self._loop.remove_reader(self._ours)

    @property
    def text(self) -> str:
        """As it stands on the screen."""
        return on_screen(self._raw)

    async def run(self, line: str, status: int = 0) -> str:
        """Type a line, wait for the prompt; what it printed. Its exit status must be that one."""
        if not self._seen:
            await self._until(_PROMPT)
        os.write(self._ours, line.encode() + b"\n")
        said, found = await self._until(_PROMPT)
        assert found == str(status), f"{line}: exit status {found}\n{said}"
        return said.partition("\n")[2]

    async def start(self, line: str, until: str) -> str:
        """Type a line whose command goes on; what it printed up to those words."""
        if not self._seen:
            await self._until(_PROMPT)
        os.write(self._ours, line.encode() + b"\n")
        return (await self._until(re.compile(f"({re.escape(until)})")))[0]

    async def stop(self) -> str:
        """Ctrl-C, and wait for the prompt; what the command said from then on."""
        self._seen = len(self._raw)
        os.write(self._ours, b"\x03")
        return (await self._until(_PROMPT))[0]

    async def _until(self, wanted: re.Pattern[str]) -> tuple[str, str]:
        """What comes up to a match, and the match's group."""
        async with asyncio.timeout(_PATIENCE):
            while not (found := wanted.search(self._raw, self._seen)):
                await asyncio.sleep(0.02)
        said = on_screen(self._raw[self._seen : found.end()])
        self._seen = found.end()
        return said, found[1]

    def clear(self) -> None:
        """Begin a new picture."""
        self._raw, self._seen = "$ ", 2

    def close(self) -> None:
        """End the shell, and what runs in it."""
        self._loop.remove_reader(self._ours)
        with contextlib.suppress(OSError):
            os.killpg(os.tcgetpgrp(self._ours), signal.SIGTERM)
        os.close(self._ours)
        self._shell.wait(20)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def on_screen(raw: str) -> str:
    """Without control sequences; a line that was written over shows what came last."""
    lines = _CONTROL.sub("", raw).replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)


def as_html(text: str) -> str:
    """The screen as a page; what was typed stands out."""
    lines = text.strip("\n").split("\n")
    shown = "\n".join(
        f"<b>{html.escape(line)}</b>" if line.startswith("$ ") else html.escape(line)
        for line in lines
    )
    return (
        "<!doctype html><meta charset=utf-8><style>body{margin:0;background:#14171a}"
        f"pre{{margin:0;padding:14px 16px;width:{COLUMNS}ch;color:#d8dde2;white-space:pre-wrap;"
        "overflow-wrap:anywhere;font:14px/1.4 'DejaVu Sans Mono',monospace}b{color:#fff}"
        f"</style><pre>{shown}</pre>"
    )
