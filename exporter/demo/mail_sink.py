"""As much of an SMTP server (RFC 5321) as a mail client needs to hand over a message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage

MAX_BYTES = 1_000_000

Take = Callable[[dict[str, str], str], str | None]
"""Given headers and text; an SMTP refusal such as ``451 try later``, or None to accept."""


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, take: Take) -> None:
    """One connection, until QUIT or the end."""

    async def say(line: str) -> None:
        writer.write(line.encode() + b"\r\n")
        await writer.drain()

    try:
        await say("220 sink ESMTP")
        while line := await asyncio.wait_for(reader.readline(), 30):
            match line.decode(errors="replace").split(":")[0].split()[:1]:
                case [verb] if verb.upper() in ("EHLO", "HELO", "MAIL", "RCPT", "RSET", "NOOP"):
                    await say("250 OK")
                case [verb] if verb.upper() == "DATA":
                    await say("354 End data with a dot")
                    await say(take(*_read(await _data(reader))) or "250 OK")
                case [verb] if verb.upper() == "QUIT":
                    await say("221 bye")
                    return
                case _:
                    await say("502 Command not implemented")
    except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
        return  # the client left; it will try again
    finally:
        writer.close()


async def _data(reader: asyncio.StreamReader) -> bytes:
    lines = []
    size = 0
    while (line := await reader.readline()) not in (b".\r\n", b".\n", b""):
        size += len(line)
        if size > MAX_BYTES:
            raise ConnectionError("the mail is too long")
        lines.append(line[1:] if line.startswith(b"..") else line)
    return b"".join(lines)


def _read(data: bytes) -> tuple[dict[str, str], str]:
    message = message_from_bytes(data, policy=policy.default)
    assert isinstance(message, EmailMessage)  # noqa: S101 - what the default policy makes
    body = message.get_body(("plain", "html"))
    text = body.get_content() if body else ""
    return {name: str(value) for name, value in message.items()}, str(text)
