"""Sends one message in a process of its own, which is ended when it takes too long."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from exporter.config import Channel
from exporter.config.secret_values import read_secret
from exporter.messages.message import ChannelMessage
from exporter.redaction.truncate import truncate_at_word
from exporter.util.child_process import ask_child

ATTEMPT_SECONDS = 60.0


class NotSentError(Exception):
    """A channel did not accept the message; the text says what happened, without its address.

    `transient`: whether it may accept it later; `retry_after`: seconds it asked us to wait.
    """

    def __init__(
        self, text: str, *, transient: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(text)
        self.transient, self.retry_after = transient, retry_after


def secret_of(name: str, channel: Channel, environ: Mapping[str, str]) -> str | None:
    """A channel's address, or the password of its mail server, if that wants one. Raises
    :class:`~exporter.config.secret_values.SecretMissingError`."""
    place, email = f"messages.{name}", channel.email
    if email is None:
        return read_secret(f"{place}.url", channel.url_env, channel.url_file, environ)
    if not email.user:
        return None
    return read_secret(f"{place}.email.password", email.password_env, email.password_file, environ)


async def send(
    message: ChannelMessage,
    name: str,
    channel: Channel,
    environ: Mapping[str, str] = os.environ,
    *,
    timeout: float = ATTEMPT_SECONDS,
) -> None:
    """Send to the channel `name`. Raises :class:`NotSentError`, and
    :class:`~exporter.config.secret_values.SecretMissingError` when its address or password is not
    where the config says."""
    secret, email = secret_of(name, channel, environ), channel.email
    order = {
        "message": message.to_json(),
        "address": None if email else secret,
        "email": email.model_dump(mode="json") if email else None,
        "password": secret if email else None,
    }
    answer = await _answer(json.dumps(order).encode(), timeout)
    if not answer["ok"]:
        problem = str(answer["problem"])
        problem = problem.replace(secret, "***") if secret else problem
        raise NotSentError(
            problem, transient=answer["transient"], retry_after=answer["retry_after"]
        )


async def _answer(order: bytes, timeout: float) -> Mapping[str, Any]:
    try:
        status, out, last = await ask_child("exporter.messages.sender", order, timeout)
    except TimeoutError:
        raise NotSentError(f"did not answer within {timeout:.0f} s", transient=True) from None
    try:
        answer = json.loads(out)
    except ValueError:
        raise NotSentError(
            f"the sending process exited with {status}: {truncate_at_word(last, 200)}",
            transient=True,
        ) from None
    return answer if isinstance(answer, dict) else {}
