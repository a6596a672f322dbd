"""What ``check`` notes about keys that moved and are read for one more release: the new form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from exporter.config import Config, Mistake
from exporter.config.model import LOG_REVIEW


def moved_keys(config: Config) -> Iterator[Mistake]:
    """Before there were channels, `digest` said where the digest goes."""
    old = config.digest
    channels: dict[str, Any] = {}
    if old.slack:
        channels["slack"] = old.slack.model_dump(mode="json", exclude_defaults=True)
    if old.email:
        email = old.email.model_dump(mode="json", exclude_defaults=True)
        channels["email"] = {"email": email}
    for name, channel in channels.items():
        form = yaml.safe_dump({name: channel}, default_flow_style=True, width=10_000)
        yield Mistake(
            f"digest.{name}",
            f"moved, and read here for one more release: write `messages: {form.strip()}`",
        )
    if old.to:
        task = next((n for n, t in config.tasks.items() if t.run == LOG_REVIEW), "log_review")
        yield Mistake(
            "digest.to",
            "moved, and read here for one more release: write "
            f"`report_to: [{', '.join(old.to)}]` below `tasks.{task}`",
        )
