"""``quant-exporter messages``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from exporter.cli import client
from exporter.cli.with_config import complain, with_config
from exporter.config import Config
from exporter.config.secret_values import SecretMissingError
from exporter.messages.sample import TRIAL
from exporter.messages.sender_process import ATTEMPT_SECONDS, NotSentError, send
from exporter.redaction.known_secrets import known_secrets
from exporter.redaction.mask import Mask


def messages(path: Path, *, action: str, channel: str | None) -> int:
    """Send a trial to one channel, or to each: by the running exporter, which has the secrets, or
    else from here. 0 when every channel accepted it."""
    assert action == "test"  # noqa: S101 - the command line knows no other

    def call(config: Config) -> int:
        if not config.channels:
            complain("no channel is configured: add one to `messages:` (docs/messages.md)")
            return 2
        if channel is not None and channel not in config.channels:
            known = ", ".join(config.channels)
            complain(f"there is no channel {channel!r} in {path}: write one of {known}")
            return 2
        names = [channel] if channel else list(config.channels)
        try:
            body = {"to": names}
            answer = client.call(
                config, "POST", "/api/v1/messages/test", body, timeout=ATTEMPT_SECONDS + 20
            )
            problems = answer["channels"]
        except client.OtherExporterError:
            raise
        except client.NotRunningError:
            print("no exporter is running; sending from here")
            problems = asyncio.run(_from_here(config, names))
        for name in names:
            print(f"{name}: {problems[name] or 'sent'}")
        return 1 if any(problems.values()) else 0

    return with_config(path, call)


async def _from_here(config: Config, names: list[str]) -> Mapping[str, str | None]:
    mask = Mask()
    mask.add_all(known_secrets(config, os.environ))

    async def one(name: str) -> str | None:
        try:
            await send(TRIAL, name, config.channels[name])
        except (NotSentError, SecretMissingError) as error:
            return mask.text(str(error))
        return None

    return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))
